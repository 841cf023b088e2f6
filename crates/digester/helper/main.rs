//! A digester and a spawner as processes of their own, so that tests can kill them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use digester::{Config, Joiner, Regulator, SpawnerArgs, run, spawner_main};
use model::Resources;
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let role = words.next().unwrap_or_default();
    let rest: Vec<String> = words.collect();
    let value = |flag: &str| {
        rest.iter().position(|word| word == flag).and_then(|at| rest.get(at + 1)).cloned()
    };
    let path = |flag: &str| PathBuf::from(value(flag).unwrap_or_default());
    let ms = |flag: &str| value(flag).and_then(|text| text.parse().ok()).map(Duration::from_millis);
    if role == "spawner" {
        return spawner_main(&SpawnerArgs {
            socket: path("--socket"),
            dir: path("--dir"),
            attempts: path("--attempts"),
            orphan_after: ms("--orphan-after-ms").unwrap_or_default(),
        });
    }
    let program = std::env::current_exe().unwrap_or_default().to_string_lossy().into_owned();
    let mut config = Config::new(
        value("--manager").unwrap_or_default(),
        Joiner::Token { token: "t".into(), name: "n".into() },
        path("--data-dir"),
        vec![program, "spawner".into()],
        path("--objects"),
        Resources { cpu_millis: 64_000, memory_mib: 64_000, disk_mib: 0, gpus: 0 },
    );
    if let Some(regulator) = value("--regulator") {
        config.regulator =
            Regulator::parse(&regulator, config.capacity).unwrap_or(config.regulator);
    }
    config.notice_file = value("--notice-file").map(PathBuf::from);
    config.grace = ms("--grace-ms").unwrap_or(config.grace);
    config.orphan_after = ms("--orphan-after-ms").unwrap_or(config.orphan_after);
    config.output_cap_bytes =
        value("--cap").and_then(|text| text.parse().ok()).unwrap_or(config.output_cap_bytes);
    digest(config)
}

#[tokio::main(flavor = "current_thread")]
async fn digest(config: Config) -> ExitCode {
    let shutdown = CancellationToken::new();
    let told = shutdown.clone();
    tokio::spawn(async move {
        let terminate = tokio::signal::unix::SignalKind::terminate();
        if let Ok(mut signals) = tokio::signal::unix::signal(terminate) {
            signals.recv().await;
            told.cancel();
        }
    });
    match run(config, shutdown).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "for whoever reads the test's output")]
            {
                eprintln!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}
