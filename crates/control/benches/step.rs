//! How long a step takes: settling a batch of reports and placing as many tasks again.

use std::sync::Arc;

use control::{Config, Input, Joiner, Reply, step};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use model::{
    AttemptId, ClusterId, Durable, FORMAT, Head, JobId, JobSpec, LogPart, NodeId, Outcome,
    Resources, TaskResult, Timestamp, Transition, World,
};

const NOW: Timestamp = Timestamp::from_ms(1_790_000_000_000);

struct Cluster {
    world: World,
    config: Config,
    nodes: Vec<NodeId>,
    running: Vec<Vec<AttemptId>>,
}

/// `nodes` machines of 8 cores, full of one-core tasks of a million-task group.
fn cluster(nodes: u32) -> Cluster {
    let head = Head {
        term: 1,
        seq: 0,
        now: NOW,
        format: FORMAT,
        cluster: ClusterId::from_number(1),
        seed: 1,
    };
    let mut world = World::new(Durable::new(head));
    let config = Config::default();
    let capacity = Resources { cpu_millis: 8_000, memory_mib: 16_000, disk_mib: 0, gpus: 0 };
    let joins = (0..nodes).map(|node| Input::Join {
        joiner: Joiner::Static { name: format!("n{node}").into() },
        session: u64::from(node),
        capacity,
    });
    let decision = step(&mut world, &config, joins.collect(), NOW);
    let nodes: Vec<NodeId> = decision
        .replies
        .iter()
        .map(|reply| match reply {
            Reply::Joined(node) => *node,
            other => panic!("{other:?}"),
        })
        .collect();
    let document = serde_json::json!({"group": [{"command": ["true"], "count": 1_000_000}]});
    let spec = Arc::new(JobSpec::parse(&document).expect("a right document"));
    let submit = Input::Submit { job: JobId::from_number(1), spec };
    let decision = step(&mut world, &config, vec![submit], NOW);
    let assigned = |node| {
        decision.commands.get(node).map_or(Vec::new(), |commands| {
            commands.assign.iter().map(|(attempt, _)| *attempt).collect()
        })
    };
    let running = nodes.iter().map(assigned).collect();
    Cluster { world, config, nodes, running }
}

fn reports(cluster: &Cluster) -> Vec<Input> {
    let ended = |attempt: &AttemptId| Transition::Ended {
        attempt: *attempt,
        result: Box::new(TaskResult {
            outcome: Outcome::Exited { code: 0 },
            run_ms: 1,
            stdout: LogPart::default(),
            stderr: LogPart::default(),
            outputs: Vec::new(),
            message: None,
        }),
    };
    let sync = |(number, (node, attempts)): (usize, (&NodeId, &Vec<AttemptId>))| Input::Sync {
        node: *node,
        session: number as u64,
        transitions: attempts.iter().map(ended).collect(),
        inventory: None,
        notice: None,
    };
    cluster.nodes.iter().zip(&cluster.running).enumerate().map(sync).collect()
}

fn settle_and_place(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    group.sample_size(20);
    for nodes in [1, 100, 1_000] {
        let cluster = cluster(nodes);
        let tasks: usize = cluster.running.iter().map(Vec::len).sum();
        group.throughput(Throughput::Elements(tasks as u64));
        group.bench_function(BenchmarkId::new("settle and place, nodes", nodes), |bench| {
            bench.iter_batched(
                || (cluster.world.clone(), reports(&cluster)),
                |(mut world, inputs)| step(&mut world, &cluster.config, inputs, NOW.plus_ms(5)),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, settle_and_place);
criterion_main!(benches);
