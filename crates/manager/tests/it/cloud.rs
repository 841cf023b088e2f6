//! What the executors tell a cloud, and when.

use std::sync::{Arc, Mutex, PoisonError};

use api::sync::{JoinRequest, Proof};
use cloud::{Answer, Cloud, CloudError, Identity, Launched, Received};
use manager::CloudChoice;
use model::{
    FORMAT, InstanceId, Intent, JobStatus, Machine, MachineState, MicroUsd, Notice, NoticeKind,
    Offer, Pool, PurchaseOption, Resources, TaskStatus, Timestamp,
};
use tokio::sync::{Notify, mpsc};

use crate::scene::{Digester, Scene, job};
use crate::work::until;

/// One pool; the first launch gets no clear answer.
#[derive(Default)]
struct Fake {
    calls: Mutex<Calls>,
    notices: Mutex<Vec<Received>>,
    news: Notify,
    launched: Mutex<Option<mpsc::UnboundedSender<Intent>>>,
}

#[derive(Default)]
struct Calls {
    launches: Vec<Intent>,
    machines: Vec<Machine>,
    acknowledged: Vec<String>,
    retired: Vec<InstanceId>,
}

impl Fake {
    fn calls<T>(&self, look: impl FnOnce(&mut Calls) -> T) -> T {
        look(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn announce(&self, received: Received) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(received);
        self.news.notify_one();
    }
}

fn offer() -> Offer {
    Offer {
        pool: Pool { zone: "z".into(), instance_type: "t".into(), option: PurchaseOption::Spot },
        capacity: Resources { cpu_millis: 4_000, memory_mib: 4_096, disk_mib: 0, gpus: 0 },
        price: MicroUsd(10_000),
        on_demand_price: MicroUsd(30_000),
        hazard_ppm_hour: 0,
    }
}

fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    Timestamp::from_ms(i64::try_from(since.as_millis()).expect("before the end of time"))
}

impl Cloud for Fake {
    fn offers(&self) -> Answer<'_, Vec<Offer>> {
        Box::pin(async { Ok(vec![offer()]) })
    }

    fn launch<'a>(&'a self, intent: &'a Intent) -> Answer<'a, Launched> {
        Box::pin(async move {
            let (first, machines) = self.calls(|calls| {
                calls.launches.push(intent.clone());
                let machine = |number: u32| Machine {
                    instance: InstanceId::new(&format!("i-{}-{number}", intent.id)),
                    intent: Some(intent.id),
                    pool: offer().pool,
                    state: MachineState::Running,
                    launched: now(),
                };
                let machines: Vec<_> = (0..intent.request.count).map(machine).collect();
                let first = calls.launches.len() == 1;
                if !first {
                    calls.machines.extend(machines.clone());
                }
                (first, machines)
            });
            if first {
                return Err(CloudError::Retry("the line is bad".into()));
            }
            let told = self.launched.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(told) = &*told {
                told.send(intent.clone()).expect("the test waits");
            }
            Ok(Launched { machines, refusal: None })
        })
    }

    fn retire<'a>(&'a self, instances: &'a [InstanceId]) -> Answer<'a, Vec<InstanceId>> {
        Box::pin(async move {
            self.calls(|calls| calls.retired.extend(instances.iter().cloned()));
            Ok(instances.to_vec())
        })
    }

    fn list(&self) -> Answer<'_, Vec<Machine>> {
        Box::pin(async {
            Ok(self.calls(|calls| {
                let ended = |machine: &Machine| calls.retired.contains(&machine.instance);
                calls.machines.iter().filter(|machine| !ended(machine)).cloned().collect()
            }))
        })
    }

    fn notices(&self) -> Answer<'_, Vec<Received>> {
        Box::pin(async {
            self.news.notified().await;
            Ok(self.notices.lock().unwrap_or_else(PoisonError::into_inner).clone())
        })
    }

    fn acknowledge<'a>(&'a self, receipts: &'a [String]) -> Answer<'a, ()> {
        Box::pin(async move {
            self.calls(|calls| calls.acknowledged.extend(receipts.iter().cloned()));
            Ok(())
        })
    }

    fn identify<'a>(&'a self, document: &'a str) -> Answer<'a, Identity> {
        Box::pin(async move {
            let found = self.calls(|calls| {
                let machine = calls.machines.iter().find(|it| it.instance.as_str() == document)?;
                Some(Identity { instance: machine.instance.clone(), intent: machine.intent? })
            });
            found.ok_or_else(|| CloudError::Wrong("no such machine".into()))
        })
    }
}

#[tokio::test]
async fn a_machine_is_bought_used_warned_of_and_ended() {
    let fake = Arc::new(Fake::default());
    let (told, mut launched) = mpsc::unbounded_channel();
    *fake.launched.lock().expect("whole") = Some(told);
    let cloud = Arc::clone(&fake) as Arc<dyn Cloud>;
    let scene = Scene::with(|config| config.cloud = CloudChoice::Other(cloud)).await;
    let submitted = scene.user.submit(&job(1), None).await.expect("accepted");
    let intent = launched.recv().await.expect("a launch");
    let (first, second) =
        fake.calls(|calls| (calls.launches[0].clone(), calls.launches[1].clone()));
    assert_eq!((first.id, &first.request), (second.id, &second.request), "sent again unchanged");
    assert_eq!(intent.request.count, 1);

    let instance = fake.calls(|calls| calls.machines[0].instance.clone());
    let request = JoinRequest {
        proof: Proof::Identity { document: instance.to_string() },
        session: 7,
        capacity: offer().capacity,
        format: FORMAT,
    };
    let mut node = Digester::join_as(&scene.user, &request).await;
    let work = node.work().await;
    node.start(&work).await;
    let nodes = scene.user.nodes(&api::client::NodesQuery::default()).await.expect("a list");
    assert_eq!(nodes.items[0].name.as_deref(), Some(instance.as_str()));

    let deadline = now().plus_ms(120_000);
    let notice = Notice { instance: instance.clone(), kind: NoticeKind::Interruption, deadline };
    fake.announce(Received { receipt: "receipt".into(), notice });
    let answer = loop {
        let answer = node.poll(Vec::new()).await;
        if !answer.notices.is_empty() {
            break answer;
        }
    };
    assert!(answer.drain && (1..=120_000).contains(&answer.notices[0].remaining_ms), "{answer:?}");
    // What is said to the node is durable: so the row says so, too.
    let task = scene.user.task(work[0].task).await.expect("it is there");
    assert_eq!(task.status, TaskStatus::Leaving);
    until(async || fake.calls(|calls| calls.acknowledged.contains(&"receipt".to_owned()))).await;
    node.succeed(&work).await;
    let detail = scene.user.job(submitted.id).await.expect("it is there");
    assert_eq!(detail.job.status, JobStatus::Succeeded);
    // A node that has to go and has nothing to do is ended.
    until(async || fake.calls(|calls| calls.retired.contains(&instance))).await;
    let cost = scene.user.cost().await.expect("a bill");
    assert!(cost.instances >= 1 && cost.total_micro_usd > MicroUsd(0), "{cost:?}");
    scene.manager.shutdown().await;
}
