//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::export::Moment;
use crate::commands::simulate::args::Simulate;
use crate::examples;
use crate::output::Format;
use crate::selector::{JobSelector, Selector};

/// Capacity ebbs; your jobs don't.
///
/// Runs batch jobs on machines that may vanish, and settles every task exactly once.
#[derive(Debug, Parser)]
#[command(name = "ebb", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  ebb demo                      a real job through real interruptions, in a minute
  ebb up                        your own manager and a local worker, until Ctrl-C
  ebb run -- echo hello         from another terminal: a first job
  ebb submit job.toml --wait    a job file
  ebb status                    is all well?

JOB and TASK are ids, unique beginnings of ids, `last`, or `label=value`; a task
is JOB.GROUP.INDEX, like last.0.17. The token is EBB_TOKEN, or that of the file
which a manager of this user wrote.

Exit codes: 0 ok, 1 the job did not succeed, 2 usage, 3 not found, 4 refused,
5 unreachable or retryable. `ebb run` exits with the task's code, 125 for its own
failures, 128+n for signals.";

/// Options of every command stand apart from its own.
const EVERYWHERE: &str = "Options of every command";

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// How the answer is written.
    #[arg(long, short, global = true, value_enum, default_value_t, value_name = "table|json",
          hide_possible_values = true, help_heading = EVERYWHERE)]
    pub(crate) output: Format,
    /// The manager; by default the one that this user started.
    #[arg(long, global = true, env = "EBB_URL", value_name = "URL", help_heading = EVERYWHERE)]
    pub(crate) url: Option<String>,
    /// How the log (stderr) is written.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "text|json",
          hide_possible_values = true, help_heading = EVERYWHERE)]
    pub(crate) log_format: LogFormat,
    /// Log more; twice for all. RUST_LOG goes before it.
    #[arg(long, short, global = true, action = clap::ArgAction::Count, help_heading = EVERYWHERE)]
    pub(crate) verbose: u8,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a real job on a simulated cloud that interrupts it, and check every result.
    Demo(Demo),
    /// Start a manager and a local worker that nobody interrupts.
    Up(Up),
    /// Start a manager alone.
    Manager(Manager),
    /// Start a worker on this machine.
    Worker(Worker),
    /// The parent of a worker's tasks; started by the worker.
    #[command(hide = true)]
    Spawner(Spawner),
    /// Run one command as a job: its output here, its exit code too.
    Run(Run),
    /// Submit a job file.
    Submit(Submit),
    /// Say what a job would cost and how long it would take; submit nothing.
    Plan(Plan),
    /// Say whether all is well, or how a job or task stands.
    Status(Status),
    /// Wait until jobs are settled.
    Wait(Wait),
    /// Stop jobs or tasks.
    Stop(Stop),
    /// Have tasks of settled jobs run again.
    Retry(Retry),
    /// Print what a task, or all tasks of a job by index, wrote.
    Logs(Logs),
    /// List or download the files that tasks have left.
    Outputs(Outputs),
    /// Say why a job, task or node is as it is.
    Explain(Explain),
    /// List the nodes.
    Nodes(Nodes),
    /// Give a node no new work.
    Drain(Drain),
    /// Give a drained node work again.
    Undrain(Undrain),
    /// Show what was paid, and for what.
    Cost(Cost),
    /// Write what this cluster has seen to a file, for `ebb simulate --from-export`.
    Export(Export),
    /// Say what policies would have cost on a recorded or made-up market.
    Simulate(Simulate),
    /// Check this machine and the way to the manager, and say what to do.
    Doctor(Doctor),
    /// Make, list and revoke tokens.
    #[command(subcommand)]
    Token(Token),
    /// Print completions for a shell.
    Completions(Completions),
}

#[derive(Debug, Args)]
#[command(after_help = examples::DEMO)]
pub(crate) struct Demo {
    /// The corpus; by default Cargo's registry, else /usr/share/doc, else a generated one.
    pub(crate) dir: Option<PathBuf>,
    /// Tasks in all, the 20 heavy ones included.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(21..=100_000))]
    pub(crate) tasks: u32,
    /// What the market and the choice of files are drawn from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Keep manager and data at the end, until Ctrl-C.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Where a manager listens and keeps its data.
#[derive(Debug, Clone, Args)]
pub(crate) struct ManagerArgs {
    /// Where to listen; the next free port by default if 7878 is taken.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where data is kept.
    #[arg(long, value_name = "DIR", env = "EBB_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// postgres://… or sqlite:FILE; by default a SQLite file in the data folder.
    #[arg(long, value_name = "URL", env = "EBB_DATABASE_URL", hide_env_values = true)]
    pub(crate) database: Option<String>,
    /// Where workers and clients reach it; by default where it listens.
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// A folder that all managers of one database share: objects, and the market if there is one.
    #[arg(long, value_name = "DIR")]
    pub(crate) shared_dir: Option<PathBuf>,
    /// Who sells machines.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) cloud: CloudKind,
    /// What the market is drawn from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// `--cloud`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CloudKind {
    /// The simulated cloud; its machines are worker processes here.
    Market,
    /// EC2; not built yet.
    Aws,
    /// Nobody: workers join by token.
    #[default]
    Static,
}

#[derive(Debug, Args)]
#[command(after_help = examples::UP)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) manager: ManagerArgs,
}

#[derive(Debug, Args)]
#[command(after_help = examples::MANAGER)]
pub(crate) struct Manager {
    #[command(flatten)]
    pub(crate) manager: ManagerArgs,
}

#[derive(Debug, Args)]
#[command(after_help = examples::WORKER)]
pub(crate) struct Worker {
    /// The manager's URL.
    #[arg(long, value_name = "URL")]
    pub(crate) manager: Option<String>,
    /// A file with a join token (`ebb token create --join`); EBB_JOIN_TOKEN otherwise.
    #[arg(long, value_name = "FILE")]
    pub(crate) join_token_file: Option<PathBuf>,
    /// A name that is unique in the cluster; the host's by default.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where spool and tasks' folders are kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Cores that tasks may use, like 4 or 500m; all by default.
    #[arg(long)]
    pub(crate) cpu: Option<String>,
    /// Memory that tasks may use, like 4GiB; most of it by default.
    #[arg(long)]
    pub(crate) memory: Option<String>,
    /// The manager's folder of objects; by default that of this user's manager.
    #[arg(long, value_name = "DIR")]
    pub(crate) objects: Option<PathBuf>,
    /// Without a manager for so long, tasks are stopped and the worker ends.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = model::parse_duration_ms)]
    pub(crate) orphan_after: u64,
    /// A launched machine's identity document; the market starts its machines so.
    #[arg(long, value_name = "FILE", hide = true, conflicts_with_all = ["join_token_file", "name"])]
    pub(crate) identity: Option<PathBuf>,
    /// Where a launched machine is told that it will be taken.
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) notice_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Spawner {
    /// Where it listens.
    #[arg(long)]
    pub(crate) socket: PathBuf,
    /// Where it keeps exits.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Where the attempts' folders are.
    #[arg(long)]
    pub(crate) attempts: PathBuf,
    /// Without a digester for so long, it ends tasks and itself.
    #[arg(long, value_name = "MS")]
    pub(crate) orphan_after_ms: u64,
}

#[derive(Debug, Args)]
#[command(after_help = examples::RUN)]
pub(crate) struct Run {
    /// The job's name; by default the command's.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Cores, like 2 or 500m.
    #[arg(long)]
    pub(crate) cpu: Option<String>,
    /// Memory, like 512MiB.
    #[arg(long)]
    pub(crate) memory: Option<String>,
    /// A label of the job, to find it by; may be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// One task for each line of FILE (`-`: stdin), which is in $EBB_ITEM; output comes in the
    /// lines' order.
    #[arg(long, value_name = "FILE")]
    pub(crate) each_line: Option<PathBuf>,
    /// The command.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = examples::SUBMIT)]
pub(crate) struct Submit {
    /// A job file (.toml, .yaml, .json), `-` for stdin, or .ndjson with a job a line.
    pub(crate) file: PathBuf,
    /// Wait until it is settled; exit 1 unless it succeeded.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Submits at most once under this key in 24 hours.
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = examples::PLAN)]
pub(crate) struct Plan {
    /// A job file (.toml, .yaml, .json), `-` for stdin.
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = examples::EXPORT)]
pub(crate) struct Export {
    /// From when, or from how long ago on; by default a week before the end.
    #[arg(long, value_name = "TIME|AGO")]
    pub(crate) from: Option<Moment>,
    /// Until when; now by default.
    #[arg(long, value_name = "TIME|AGO")]
    pub(crate) to: Option<Moment>,
    /// Where to; stdout by default.
    #[arg(long, value_name = "FILE")]
    pub(crate) to_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = examples::STATUS)]
pub(crate) struct Status {
    /// Jobs or a task; without it, all at a glance.
    #[arg(value_name = "JOB|TASK")]
    pub(crate) selector: Option<Selector>,
    /// All jobs, not only the latest; all tasks of a job.
    #[arg(long)]
    pub(crate) all: bool,
    /// Go on showing: on a terminal the same place again, with json an object at each change.
    #[arg(long, short)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
#[command(after_help = examples::WAIT)]
pub(crate) struct Wait {
    /// Jobs.
    #[arg(required = true, value_name = "JOB")]
    pub(crate) jobs: Vec<JobSelector>,
    /// Give up after so long, like 10m (exit 5).
    #[arg(long, value_name = "TIME", value_parser = model::parse_duration_ms)]
    pub(crate) timeout: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = examples::LOGS)]
pub(crate) struct Logs {
    /// A job or a task.
    #[arg(value_name = "JOB|TASK")]
    pub(crate) selector: Selector,
    /// Only standard output.
    #[arg(long, conflicts_with = "stderr")]
    pub(crate) stdout: bool,
    /// Only standard error.
    #[arg(long)]
    pub(crate) stderr: bool,
    /// Go on while it runs.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// An earlier attempt of a task.
    #[arg(long, value_name = "N")]
    pub(crate) attempt: Option<u32>,
}

#[derive(Debug, Args)]
#[command(after_help = examples::STOP)]
pub(crate) struct Stop {
    /// Jobs or tasks.
    #[arg(required = true, value_name = "JOB|TASK")]
    pub(crate) selectors: Vec<Selector>,
}

#[derive(Debug, Args)]
#[command(after_help = examples::NODES)]
pub(crate) struct Nodes {
    /// Those that are gone, too.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
#[command(after_help = examples::RETRY)]
pub(crate) struct Retry {
    /// Jobs.
    #[arg(required = true, value_name = "JOB")]
    pub(crate) jobs: Vec<JobSelector>,
    #[command(flatten)]
    pub(crate) which: Which,
}

/// Which tasks run again.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Which {
    /// Tasks that failed; so it is by default.
    #[arg(long)]
    pub(crate) failed: bool,
    /// Tasks that were cancelled.
    #[arg(long)]
    pub(crate) cancelled: bool,
    /// All tasks that did not succeed.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
#[command(after_help = examples::OUTPUTS)]
pub(crate) struct Outputs {
    /// A job or a task.
    #[arg(value_name = "JOB|TASK")]
    pub(crate) selector: Selector,
    /// Download all into DIR/GROUP.INDEX/; files that are there already are kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = examples::EXPLAIN)]
pub(crate) struct Explain {
    /// A job, a task or a node.
    #[arg(value_name = "JOB|TASK|NODE")]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
#[command(after_help = examples::DRAIN)]
pub(crate) struct Drain {
    /// A node's id, the beginning of one, or its name.
    pub(crate) node: String,
}

#[derive(Debug, Args)]
#[command(after_help = examples::UNDRAIN)]
pub(crate) struct Undrain {
    /// A node's id, the beginning of one, or its name.
    pub(crate) node: String,
}

#[derive(Debug, Args)]
#[command(after_help = examples::COST)]
pub(crate) struct Cost {}

#[derive(Debug, Args)]
#[command(after_help = examples::DOCTOR)]
pub(crate) struct Doctor {}

#[derive(Debug, Args)]
#[command(after_help = examples::COMPLETIONS)]
pub(crate) struct Completions {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

/// `KEY=VALUE`.
fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token; it is shown this once.
    #[command(after_help = examples::TOKEN_CREATE)]
    Create {
        /// For workers that join, instead of for users.
        #[arg(long)]
        join: bool,
        /// How often it may be used to join.
        #[arg(long, requires = "join", default_value_t = 1)]
        uses: u32,
        /// How long it is good, like 24h.
        #[arg(long, value_name = "TIME", value_parser = model::parse_duration_ms)]
        expires: Option<u64>,
        /// For people.
        #[arg(long)]
        name: Option<String>,
    },
    /// List the tokens, without their secrets.
    #[command(after_help = examples::TOKEN_LIST)]
    List,
    /// Revoke a token.
    #[command(after_help = examples::TOKEN_REVOKE)]
    Revoke {
        /// Its id, from the list.
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_option_takes_a_users_token() {
        // Command lines are public to the other users of a machine.
        for command in Cli::command().get_subcommands() {
            let found = command.get_arguments().any(|arg| arg.get_long() == Some("token"));
            assert!(!found, "{}", command.get_name());
        }
    }

    #[test]
    fn what_follows_the_dashes_is_the_command() {
        let cli = Cli::try_parse_from(["ebb", "run", "--cpu", "2", "--", "sh", "-c", "--output"]);
        match cli.expect("right").command {
            Command::Run(run) => assert_eq!(run.command, ["sh", "-c", "--output"]),
            other => panic!("{other:?}"),
        }
        assert!(Cli::try_parse_from(["ebb", "run"]).is_err());
        assert!(Cli::try_parse_from(["ebb", "demo", "--tasks", "20"]).is_err());
        assert!(Cli::try_parse_from(["ebb", "stop", "a/b"]).is_err());
        assert!(Cli::try_parse_from(["ebb", "retry", "last", "--all", "--failed"]).is_err());
        assert!(Cli::try_parse_from(["ebb", "run", "--label", "x", "--", "true"]).is_err());
    }
}
