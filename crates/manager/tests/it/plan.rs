//! Deadlines, and what a job would cost before it is submitted.

use std::sync::Arc;

use api::plan::{PlanView, RunTimeSource};
use api::problem::ProblemKind;
use cloud::{Answer, Cloud, CloudError, Identity, Launched, NoCloud, Received};
use manager::CloudChoice;
use model::{
    InstanceId, Intent, Machine, MicroUsd, Offer, Pool, PurchaseOption, Resources, Timestamp,
};
use serde_json::{Value, json};

use crate::scene::{Scene, problem};
use crate::work::until;

/// Sells, and gives nothing.
#[derive(Debug, Default)]
struct Shop;

impl Cloud for Shop {
    fn offers(&self) -> Answer<'_, Vec<Offer>> {
        let offer = |option, price| Offer {
            pool: Pool { zone: "z".into(), instance_type: "m5.xlarge".into(), option },
            capacity: Resources { cpu_millis: 4_000, memory_mib: 8_192, disk_mib: 0, gpus: 0 },
            price: MicroUsd(price),
            on_demand_price: MicroUsd(200_000),
            hazard_ppm_hour: 0,
        };
        let all = [offer(PurchaseOption::Spot, 60_000), offer(PurchaseOption::OnDemand, 200_000)];
        Box::pin(async move { Ok(all.to_vec()) })
    }
    fn launch<'a>(&'a self, _: &'a Intent) -> Answer<'a, Launched> {
        Box::pin(async { Err(CloudError::Retry("not today".into())) })
    }
    fn retire<'a>(&'a self, instances: &'a [InstanceId]) -> Answer<'a, Vec<InstanceId>> {
        NoCloud.retire(instances)
    }
    fn list(&self) -> Answer<'_, Vec<Machine>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn notices(&self) -> Answer<'_, Vec<Received>> {
        Box::pin(std::future::pending())
    }
    fn acknowledge<'a>(&'a self, receipts: &'a [String]) -> Answer<'a, ()> {
        let _ = receipts;
        Box::pin(async { Ok(()) })
    }
    fn identify<'a>(&'a self, _: &'a str) -> Answer<'a, Identity> {
        Box::pin(async { Err(CloudError::Wrong("nobody is known".into())) })
    }
}

/// A manager that has read the shop's offers.
async fn scene() -> Scene {
    let scene = Scene::with(|config| config.cloud = CloudChoice::Other(Arc::new(Shop))).await;
    until(async || !scene.user.offers().await.expect("offers").items.is_empty()).await;
    scene
}

fn hour(count: u32) -> Value {
    json!({"name": "hour", "group": [{
        "name": "g", "count": count, "command": ["true"], "expect": "1h",
        "resources": {"cpu": 4, "memory": "1GiB"},
    }]})
}

#[tokio::test]
async fn a_plan_tells_price_and_time_and_stores_nothing() {
    let scene = scene().await;
    let mut document = hour(2);
    document["deadline"] = "3h".into();
    let plan = scene.user.plan(&document).await.expect("a plan");
    assert_eq!((&*plan.name, plan.tasks, plan.runs, plan.done), ("hour", 2, 20, 20));
    let cost = plan.cost_micro_usd.expect("a price");
    // Two machines for an hour and their boots of two minutes.
    assert!((MicroUsd(120_000)..MicroUsd(126_000)).contains(&cost.median), "{cost:?}");
    assert!(cost.low <= cost.median && cost.median <= cost.high, "{cost:?}");
    let time = plan.time_ms.expect("a time");
    assert!((3_600_000..3_900_000).contains(&time.median), "{time:?}");
    assert_eq!((plan.deadline_chance_ppm, plan.spot_share_ppm), (Some(1_000_000), Some(1_000_000)));
    assert_eq!(plan.run_times[0].source, RunTimeSource::Expect);
    let launches: Vec<_> =
        plan.launches.iter().map(|launch| (launch.machines, launch.pools[0].option)).collect();
    assert_eq!(launches, [(2, PurchaseOption::Spot)]);
    let again = scene.user.plan(&document).await.expect("a plan");
    let again = PlanView { deadline_at: plan.deadline_at, ..again };
    assert_eq!(again, plan, "the same again, but for the time of day");
    let jobs = scene.user.jobs(&api::client::JobsQuery::default()).await.expect("a list");
    assert!(jobs.items.is_empty(), "{jobs:?}");
    let nodes = scene.user.nodes(&api::client::NodesQuery::default()).await.expect("a list");
    assert!(nodes.items.is_empty(), "nothing was bought: {nodes:?}");
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_tight_deadline_is_planned_on_demand() {
    let scene = scene().await;
    let mut document = hour(1);
    document["deadline"] = "63m".into();
    let plan = scene.user.plan(&document).await.expect("a plan");
    assert_eq!((plan.deadline_chance_ppm, plan.spot_share_ppm), (Some(1_000_000), Some(0)));
    assert_eq!(plan.launches[0].pools[0].option, PurchaseOption::OnDemand);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_planned_says_why() {
    let scene = scene().await;
    let mut huge = hour(1);
    huge["group"][0]["resources"]["cpu"] = 64.into();
    let plan = scene.user.plan(&huge).await.expect("an answer");
    assert_eq!((plan.cost_micro_usd, plan.time_ms, plan.runs), (None, None, 0));
    insta::assert_snapshot!(plan.why_not[0].why, @"there is no node; no offer is large enough: the nearest, z/m5.xlarge/spot (4 cores, 8 GiB memory), lacks 60 cores");
    let mut unknown = hour(1);
    unknown["group"][0].as_object_mut().expect("a group").remove("expect");
    let refused = scene.user.plan(&unknown).await.expect_err("no run time");
    let faults = refused.problem().expect("a problem").errors.clone();
    insta::assert_snapshot!(format!("{} {}", faults[0].pointer, faults[0].detail), @"/group/0/expect how long a task runs is not known, and no settled job named `hour` tells it: say `expect`");
    assert_eq!(problem(scene.user.plan(&hour(20_001)).await), ProblemKind::Invalid);
    assert_eq!(problem(scene.user.plan(&json!({"group": []})).await), ProblemKind::Invalid);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn jobs_of_the_same_name_tell_how_long_a_task_runs() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    let mut document = hour(2);
    document["group"][0]["resources"]["memory"] = "64MiB".into();
    document["group"][0].as_object_mut().expect("a group").remove("expect");
    let job = scene.user.submit(&document, None).await.expect("accepted");
    for _ in 0..2 {
        let work = node.work().await;
        node.start(&work).await;
        node.succeed(&work).await;
    }
    until(async || scene.user.job(job.id).await.expect("it").job.status.is_settled()).await;
    let plan = scene.user.plan(&document).await.expect("a plan");
    let time = &plan.run_times[0];
    assert_eq!((time.source, time.tasks, time.run_ms), (RunTimeSource::History, Some(2), 5));
    assert_eq!(plan.cost_micro_usd.map(|cost| cost.high), Some(MicroUsd(0)), "its own machine");
    assert!(plan.launches.is_empty());
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_job_tells_how_it_stands_to_its_deadline() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    let mut document = hour(1);
    document["group"][0]["resources"]["memory"] = "64MiB".into();
    document["deadline"] = "2h".into();
    let job = scene.user.submit(&document, None).await.expect("accepted");
    let detail = scene.user.job(job.id).await.expect("it is there");
    assert_eq!(detail.deadline_at, Some(detail.job.submitted_at.plus_ms(7_200_000)));
    assert_eq!(detail.deadline_met, None);
    // Of a deadline that has passed nothing can be met any more.
    let past = json!({"deadline": "1ms"});
    let url = format!("{}/v1/jobs/{}", scene.user.url(), job.id);
    let patch = |body: Value| {
        let client = reqwest::Client::new().patch(&url).bearer_auth(scene.manager.token());
        client.json(&body).send()
    };
    let refused = patch(past).await.expect("an answer");
    assert_eq!(refused.status(), 422);
    let changed = patch(json!({"deadline": "2099-01-01T00:00:00+01:00"})).await.expect("an answer");
    assert_eq!(changed.status(), 200);
    let detail = scene.user.job(job.id).await.expect("it is there");
    let at: Timestamp = "2098-12-31T23:00:00Z".parse().expect("a time");
    assert_eq!(detail.deadline_at, Some(at));
    let work = node.work().await;
    node.succeed(&work).await;
    until(async || scene.user.job(job.id).await.expect("it").deadline_met == Some(true)).await;
    document["deadline"] = "2020-01-01T00:00:00Z".into();
    assert_eq!(problem(scene.user.submit(&document, None).await), ProblemKind::Invalid);
    scene.manager.shutdown().await;
}
