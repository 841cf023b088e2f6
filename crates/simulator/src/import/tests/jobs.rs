use super::*;

fn shown(jobs: &[Arc<JobWork>]) -> String {
    let line = |job: &Arc<JobWork>| {
        let JobWork { id, arrival_ms, deadline_ms, count, ask, work, .. } = job.as_ref();
        format!(
            "{id}: at {arrival_ms} x{count} {} m, {} MiB, {} GPUs, {} ms, due {deadline_ms:?}",
            ask.cpu_millis, ask.memory_mib, ask.gpus, work.work_ms
        )
    };
    jobs.iter().map(line).collect::<Vec<_>>().join("\n")
}

const OPENB: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,\
    creation_time,deletion_time,scheduled_time\n\
    late,12000,16384,1,1000,,LS,Running,50,100,60\n\
    share,6000,12288,1,460,,LS,Running,10,70,10\n\
    cpu,4000,1024,0,0,,BE,Failed,20,21,20\n\
    eight,4000,1024,8,1000,V100M32|G2,BE,Succeeded,30,90,30\n\
    never,4000,1024,1,1000,,BE,Pending,5,45,\n\
    blink,4000,1024,0,0,,BE,Pending,5,5,\n";

#[test]
fn pods_run_from_being_scheduled_to_being_deleted() {
    let pods = |select| shown(&openb::pods(OPENB, select).expect("pods"));
    insta::assert_snapshot!(pods(openb::Select::All), @"
    share: at 0 x1 6000 m, 12288 MiB, 1 GPUs, 60000 ms, due None
    cpu: at 10000 x1 4000 m, 1024 MiB, 0 GPUs, 1000 ms, due None
    eight: at 20000 x1 4000 m, 1024 MiB, 8 GPUs, 60000 ms, due None
    late: at 40000 x1 12000 m, 16384 MiB, 1 GPUs, 40000 ms, due None
    ");
    insta::assert_snapshot!(pods(openb::Select::WholeGpus), @"
    eight: at 0 x1 4000 m, 1024 MiB, 8 GPUs, 60000 ms, due None
    late: at 20000 x1 12000 m, 16384 MiB, 1 GPUs, 40000 ms, due None
    ");
    insta::assert_snapshot!(pods(openb::Select::CpuOnly), @"cpu: at 0 x1 4000 m, 1024 MiB, 0 GPUs, 1000 ms, due None");
    let options =
        openb::Options { unscheduled: openb::Unscheduled::Kept, ..openb::Options::default() };
    let read = openb::read(OPENB, &options, &Each::default()).expect("pods");
    insta::assert_snapshot!(shown(&read.value), @"
    never: at 0 x1 4000 m, 1024 MiB, 1 GPUs, 40000 ms, due None
    share: at 5000 x1 6000 m, 12288 MiB, 1 GPUs, 60000 ms, due None
    cpu: at 15000 x1 4000 m, 1024 MiB, 0 GPUs, 1000 ms, due None
    eight: at 25000 x1 4000 m, 1024 MiB, 8 GPUs, 60000 ms, due None
    late: at 45000 x1 12000 m, 16384 MiB, 1 GPUs, 40000 ms, due None
    ");
    insta::assert_snapshot!(read.notes.join("\n"), @"
    6 of 6 pods are of the kind that was asked for
    0 of them were never scheduled and are left out
    1 were deleted at once and are left out
    1 need a share of a GPU and get a whole one
    ");
}

#[test]
fn pods_without_times_are_no_workload() {
    let text = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\nopenb-pod-0000,12000,16384,1,1000\n";
    insta::assert_snapshot!(wrong(openb::pods(text, openb::Select::All)), @"line 1: this list has no times (creation_time, deletion_time, scheduled_time), and so cannot be a workload: import openb_pod_list_default or _cpu250");
    let text = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,\
        creation_time,deletion_time,scheduled_time\n\
        a,0,x,-1,1000,,LS,Running,50,10,60\n\
        b,1,1,0,0,,LS,Running,50,55,60\n\
        c,1,1\n\
        \"d,1,1\n";
    insta::assert_snapshot!(wrong(openb::pods(text, openb::Select::All)), @"
    line 2, cpu_milli: must be a whole number from 1 to 1000000000, is `0`
    line 2, memory_mib: must be a whole number from 0 to 1000000000, is `x`
    line 2, num_gpu: must be a whole number from 0 to 1000000, is `-1`
    line 3, deletion_time: must not come before creation_time and scheduled_time
    line 4: has 3 cells; the header has 11
    line 5: a quote is not closed
    ");
}

const SURF: &str = "id,submission_time,duration,cpu_count,cpu_capacity,mem_capacity,deferrable,deadline\n\
    2,1664602743000,76000,16,33600.0,100000,True,1664689143000\n\
    1,1664575200000,1194000,16,33600.0,100000,True,1664661600000\n";

#[test]
fn surfs_deadlines_are_taken_when_asked_for() {
    insta::assert_snapshot!(shown(&surf::jobs(SURF).expect("jobs")), @"
    1: at 0 x1 16000 m, 100000 MiB, 0 GPUs, 1194000 ms, due None
    2: at 27543000 x1 16000 m, 100000 MiB, 0 GPUs, 76000 ms, due None
    ");
    let read = surf::read(SURF, true, &Each::default()).expect("jobs");
    assert!(read.value.iter().all(|job| job.deadline_ms == Some(86_400_000)));
    let bad = SURF.replace("76000,16", "0,0").replace("1664661600000", "1664575200000");
    insta::assert_snapshot!(wrong(surf::read(&bad, true, &Each::default())), @"
    line 2, duration: must be a whole number from 1 to 3155760000000, is `0`
    line 2, cpu_count: must be a whole number from 1 to 1000000, is `0`
    line 3, deadline: must come after the submission_time
    ");
    insta::assert_snapshot!(wrong(surf::jobs("id,duration\n1,2\n")), @"
    line 1: must have a column `submission_time`; has id,duration
    line 1: must have a column `cpu_count`; has id,duration
    line 1: must have a column `mem_capacity`; has id,duration
    ");
}

/// Fields: number, submit, wait, run, allocated, cpu, used KB, requested, requested s, requested KB,
/// status, then seven that are not read.
const SWF: &str = "; Version: 2.2\n; MaxProcs: 128\n\n\
    1   100  5   60  4 -1   512 -1  -1     -1 1 1 1 -1 -1 -1 -1 -1\n\
    2   110 -1  3.5 -1 -1    -1 16 900 2097152 0 1 1 -1 -1 -1 -1 -1\n\
    3   120 -1    0  1 -1    -1 -1  -1     -1 1 1 1 -1 -1 -1 -1 -1\n\
    4   130 -1   -1 -1 -1    -1  8 900     -1 5 1 1 -1 -1 -1 -1 -1\n\
    5   140  0  100  2 -1    -1 -1  -1     -1 1 1 1 -1 -1 -1 -1 -1\n\
    5    -1  0   40  2 -1    -1 -1  -1     -1 2 1 1 -1 -1 -1 -1 -1\n\
    5    -1  9   60  2 -1    -1 -1  -1     -1 3 1 1 -1 -1 -1 -1 -1\n";

#[test]
fn parallel_jobs_become_tasks() {
    let each = Each::default();
    let read = swf::read(SWF, &swf::Options::default(), &each).expect("jobs");
    insta::assert_snapshot!(shown(&read.value), @"
    1: at 0 x1 4000 m, 2 MiB, 0 GPUs, 60000 ms, due None
    2: at 10000 x1 16000 m, 32768 MiB, 0 GPUs, 3500 ms, due None
    3: at 20000 x1 1000 m, 2048 MiB, 0 GPUs, 500 ms, due None
    5: at 40000 x1 2000 m, 4096 MiB, 0 GPUs, 100000 ms, due None
    ");
    insta::assert_snapshot!(read.notes.join("\n"), @"
    2 lines are left out: a part of a job that has a line of its own
    1 lines are left out: no submission, run time or processors
    ");
    let split = swf::Options { cores_per_task: 4, memory_mib_per_core: 1_000 };
    insta::assert_snapshot!(shown(&swf::read(SWF, &split, &each).expect("jobs").value), @"
    1: at 0 x1 4000 m, 2 MiB, 0 GPUs, 60000 ms, due None
    2: at 10000 x4 4000 m, 8192 MiB, 0 GPUs, 3500 ms, due None
    3: at 20000 x1 1000 m, 1000 MiB, 0 GPUs, 500 ms, due None
    5: at 40000 x1 2000 m, 2000 MiB, 0 GPUs, 100000 ms, due None
    ");
    let bad = "1 2 3\n1 x -1 1e30 1.5y 1 1 1 1 1 1 1 1 1 1 1 1 1\n";
    insta::assert_snapshot!(wrong(swf::jobs(bad)), @"
    line 1: has 3 fields; a line of SWF has 18
    line 2, field 2 (submit time, s): must be -1 or a number up to 3155760000, is `x`
    line 2, field 4 (run time, s): must be -1 or a number up to 3155760000, is `1e30`
    line 2, field 5 (allocated processors): must be -1 or a number up to 1000000, is `1.5y`
    ");
    let twice = "1 0 0 1 1 0 0 1 1 1 1 1 1 1 1 1 1 1\n".repeat(2);
    insta::assert_snapshot!(wrong(swf::jobs(&twice)), @"line 2: has the id of line 1; ids must be unique");
}

#[test]
fn plain_tables_are_read_by_their_columns_names() {
    let text = "\u{feff}work_s, name ,gpus,cpu_milli,memory_mib,arrival_s,deadline_s,count\r\n\
        60.5,\"a,\"\"b\"\"\",1,500,128,3,120,7\r\n\r\n\
        1,c, ,1000,1,0,,\r\n";
    let jobs = pods_csv::pods(text).expect("pods");
    insta::assert_snapshot!(shown(&jobs), @r#"
    c: at 0 x1 1000 m, 1 MiB, 0 GPUs, 1000 ms, due None
    a,"b": at 3000 x7 500 m, 128 MiB, 1 GPUs, 60500 ms, due Some(120000)
    "#);
    insta::assert_snapshot!(wrong(pods_csv::pods("name,cpu_milli,work_s,work_s,prio\na,1,1,1,1\n")), @"
    line 1: the column `work_s` is there more than once
    line 1: unknown column `prio`; known are name, cpu_milli, memory_mib, gpus, arrival_s, work_s, deadline_s, count
    line 1: must have a column `memory_mib`; has name,cpu_milli,work_s,work_s,prio
    line 1: must have a column `arrival_s`; has name,cpu_milli,work_s,work_s,prio
    ");
    let rows = "name,cpu_milli,memory_mib,arrival_s,work_s\n,1,1,0,1\na,1,1,-1,0\na,1.5,1,0,1\n\
        b,1,1,0,1\nb,1,1,0,1\n";
    insta::assert_snapshot!(wrong(pods_csv::pods(rows)), @"
    line 3, arrival_s: must be a number of seconds from 0 to 3155760000, is `-1`
    line 3, work_s: must be a number of seconds from 0.001 to 3155760000, is `0`
    line 4, cpu_milli: must be a whole number from 1 to 1000000000, is `1.5`
    ");
    let rows = "name,cpu_milli,memory_mib,arrival_s,work_s\n,1,1,0,1\nb,1,1,0,1\nb,1,1,0,1\n";
    insta::assert_snapshot!(wrong(pods_csv::pods(rows)), @"
    line 2: the id must be 1 to 256 printable bytes
    line 4: has the id of line 3; ids must be unique
    ");
    insta::assert_snapshot!(wrong(pods_csv::pods("")), @"must have a header line with the columns' names; is empty");
}

#[test]
fn every_job_gets_what_the_record_does_not_say() {
    let options = JobsOptions {
        each: Each {
            changeover_ms: 720_000,
            checkpoint: Checkpoint::Continuous,
            checkpoint_milligib: 50_000,
        },
        first: 2,
        ..JobsOptions::default()
    };
    let input = Input { name: "openb.csv", text: OPENB };
    let jobs = jobs(JobsFormat::Openb, input, &options).expect("pods").value;
    assert_eq!(jobs.len(), 2);
    for job in &jobs {
        assert_eq!(job.work.changeover_ms, 720_000);
        assert_eq!(job.work.checkpoint, Checkpoint::Continuous);
        assert_eq!(job.checkpoint_milligib, 50_000);
    }
    let input = Input { name: "openb.csv", text: "name\n" };
    let error = super::super::jobs(JobsFormat::Openb, input, &options);
    assert!(wrong(error).starts_with("openb.csv: line 1: must have a column `cpu_milli`"));
}

#[test]
fn what_is_made_is_a_file_of_ours() {
    for (format, text) in
        [(JobsFormat::Openb, OPENB), (JobsFormat::Surf, SURF), (JobsFormat::Swf, SWF)]
    {
        let input = Input { name: "file", text };
        let read = jobs(format, input, &JobsOptions::default()).expect("jobs").value;
        let written = crate::files::jobs::write(&read);
        assert_eq!(crate::files::jobs::parse(&written), Ok(read), "{format}");
    }
}
