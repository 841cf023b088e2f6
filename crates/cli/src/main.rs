//! `ebb`: the command line. Reads arguments, finds the manager, prints answers; all decisions are
//! elsewhere.

mod args;
mod commands;
mod demo;
mod discovery;
mod error;
mod examples;
mod health;
mod items;
mod jobfile;
mod logging;
mod output;
mod process;
mod progress;
mod pulse;
mod remote;
mod render;
#[cfg(test)]
mod samples;
mod selector;
#[cfg(test)]
mod shown;
mod signals;
mod table;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, Common};
use commands::Client;
use error::{Exit, Failure};
use logging::Quiet;
use output::Screen;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(fault) => return misused(&fault),
    };
    // What needs no runtime goes first: the spawner is one process a node, and small.
    let cli = match cli.command {
        Command::Spawner(args) => return commands::worker::spawner(args),
        command => Cli { command, ..cli },
    };
    let screen = Screen::new(cli.common.output);
    let quiet = match cli.command {
        Command::Demo(_) => Quiet::Errors,
        _ => Quiet::Warnings,
    };
    logging::start(&cli.common, quiet);
    let exit = match start(cli, screen) {
        Ok(exit) => exit,
        Err(failure) => {
            screen.fail(&failure);
            failure.exit()
        }
    };
    ExitCode::from(exit.code())
}

/// Prints the help that was asked for, or says what is wrong with the words: as JSON, if they ask
/// for that.
fn misused(fault: &clap::Error) -> ExitCode {
    let words: Vec<_> = std::env::args().collect();
    if fault.use_stderr() && output::wants_json(&words) {
        let told = fault.to_string();
        let cause = told.lines().next().unwrap_or_default();
        let failure = Failure::usage(cause.strip_prefix("error: ").unwrap_or(cause));
        Screen::new(output::Format::Json).fail(&failure.next("ebb COMMAND --help"));
    } else {
        // Nobody is left to tell that the stream is closed.
        let _ = fault.print();
    }
    let exit = if fault.use_stderr() { Exit::Usage } else { Exit::Ok };
    ExitCode::from(exit.code())
}

fn start(cli: Cli, screen: Screen) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|fault| Failure::local(format!("cannot start threads: {fault}")))?;
    let done = runtime.block_on(dispatch(cli.command, &cli.common, screen));
    // What still reads or writes a file is not worth waiting for.
    runtime.shutdown_background();
    done
}

async fn dispatch(command: Command, common: &Common, screen: Screen) -> Result<Exit, Failure> {
    let url = common.url.as_deref();
    let client = || Client::connect(url, screen);
    match command {
        Command::Run(args) => Ok(commands::run::run(url, screen, &args).await),
        Command::Submit(args) => commands::submit::submit(&client()?, &args).await,
        Command::Plan(args) => commands::plan::plan(&client()?, &args).await,
        Command::Export(args) => commands::export::export(&client()?, &args).await,
        Command::Status(args) => commands::status::status(&client()?, &args).await,
        Command::Wait(args) => commands::wait::wait(&client()?, &args).await,
        Command::Logs(args) => commands::logs::logs(&client()?, &args).await,
        Command::Stop(args) => commands::stop::stop(&client()?, &args).await,
        Command::Nodes(args) => commands::nodes::nodes(&client()?, &args).await,
        Command::Retry(args) => commands::retry::retry(&client()?, &args).await,
        Command::Outputs(args) => commands::outputs::outputs(&client()?, &args).await,
        Command::Explain(args) => commands::explain::explain(&client()?, &args.id).await,
        Command::Doctor(_) => commands::doctor::doctor(url, screen).await,
        Command::Drain(args) => commands::nodes::drain(&client()?, &args.node, true).await,
        Command::Undrain(args) => commands::nodes::drain(&client()?, &args.node, false).await,
        Command::Cost(_) => commands::nodes::cost(&client()?).await,
        Command::Token(command) => commands::token::token(&client()?, &command).await,
        Command::Completions(args) => commands::completions::print(args.shell),
        // Nothing else waits for this thread.
        Command::Simulate(args) => commands::simulate::simulate(screen, &args),
        Command::Demo(args) => demo::demo(screen, &args).await,
        Command::Up(args) => commands::up::up(screen, &args).await,
        Command::Manager(args) => commands::manager::manager(screen, &args).await,
        Command::Worker(args) => commands::worker::worker(url, &args).await,
        // Handled before there was a runtime.
        Command::Spawner(_) => Err(Failure::usage("a spawner is started by a worker")),
    }
}
