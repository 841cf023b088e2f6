use ::market::recorded::{Depth, Prices};

use super::*;

const SAMPLES: &str = r#"{"gap_seconds": 600, "meaning": "1 = preempted/unavailable, 0 = available",
    "zones": {"us-west-2a_k80_1": [{"i": 0, "start": 684, "end": 688, "data": "0010"}],
              "us-west-2b_v100_8": [{"i": 0, "start": 1, "end": 5, "data": "1111"},
                                    {"i": 1, "start": 2, "end": 6, "data": "0000"}]}}"#;

fn options(polarity: Polarity) -> MarketOptions {
    MarketOptions { polarity: Some(polarity), ..MarketOptions::default() }
}

fn one(
    format: MarketFormat,
    (name, text): (&str, &str),
    options: &MarketOptions,
) -> Result<Recording, ImportError> {
    let mut markets = market(format, &[Input { name, text }], options)?.value;
    assert_eq!(markets.len(), 1);
    Ok(markets.remove(0).recording)
}

#[test]
fn words_are_read_back() {
    for (word, format) in Format::ALL {
        assert_eq!((word.parse(), format.to_string()), (Ok(format), word.to_owned()));
    }
    for (word, polarity) in Polarity::ALL {
        assert_eq!((word.parse(), polarity.to_string()), (Ok(polarity), word.to_owned()));
    }
    assert_eq!(
        "bitwise".parse::<Polarity>(),
        Err("`bitwise` must be one of one-is-available, one-is-preempted".to_owned())
    );
}

#[test]
fn each_sample_is_a_market() {
    let samples = cant_be_late::samples(SAMPLES, Polarity::OneIsPreempted).expect("samples");
    let shown: Vec<_> = samples.iter().map(|sample| (sample.zone.as_ref(), sample.index)).collect();
    assert_eq!(
        shown,
        [("us-west-2a_k80_1", 0), ("us-west-2b_v100_8", 0), ("us-west-2b_v100_8", 1)]
    );
    let pool = &samples[0].recording.pools[0];
    assert_eq!(pool.machines, Depth::PerTick(vec![1, 1, 0, 1]));
    assert_eq!(pool.spot, Prices::Constant(MicroUsd(973_100)));
    assert_eq!((pool.on_demand, pool.zone.as_ref()), (MicroUsd(3_060_000), "us-west-2a"));
    assert_eq!((pool.capacity.cpu_millis, pool.capacity.memory_mib), (8_000, 62_464));
    let recording = &samples[0].recording;
    assert_eq!((recording.billing, recording.decide_at), (Billing::Tick, DecideAt::Tick));

    let mut chosen = options(Polarity::OneIsPreempted);
    chosen.zone = Some("us-west-2b_v100_8".into());
    chosen.sample = Some(1);
    let named =
        market(MarketFormat::CantBeLate, &[Input { name: "samples.json", text: SAMPLES }], &chosen);
    assert_eq!(named.expect("a market").value[0].name, "us-west-2b_v100_8/1");
}

#[test]
fn a_polarity_that_the_file_contradicts_is_refused() {
    insta::assert_snapshot!(wrong(cant_be_late::samples(SAMPLES, Polarity::OneIsAvailable)), @r#"/meaning: must be what it is imported as, one-is-available, is "1 = preempted/unavailable, 0 = available""#);
    let skynomad = r#"{"metadata":{"gap_seconds":195},"preempted":"01","prices":[1,1]}"#;
    insta::assert_snapshot!(
        wrong(skynomad::pool(skynomad, "us-east-1c", Polarity::OneIsAvailable)), @"/preempted: the field's name says that 1 is preempted; imported is one-is-available");
    insta::assert_snapshot!(wrong(one(
        MarketFormat::SpotTraces,
        ("us-east-1a.json", r#"{"metadata":{"gap_seconds":195},"data":[0]}"#),
        &MarketOptions::default(),
    )), @"say what a 1 means in the record: one-is-available (spot-traces, SpotHedge) or one-is-preempted (Can't Be Late's samples, SkyNomad)");
}

#[test]
fn a_zone_has_its_prices_by_tick() {
    let text = r#"{"metadata":{"gap_seconds":195,"price_info":{"zone":"us-east-1c",
        "device":"v100_1","instance_type":"p3.2xlarge","on_demand_price":3.07,"price":0.918}},
        "preempted":"110","prices":[1.2054,1.2054,1.3]}"#;
    let pool = skynomad::pool(text, "us-east-1c", Polarity::OneIsPreempted).expect("a pool");
    assert_eq!(pool.machines, Depth::PerTick(vec![0, 0, 1]));
    let prices = [1_205_400, 1_205_400, 1_300_000].map(MicroUsd).to_vec();
    assert_eq!(pool.spot, Prices::PerTick(prices));
    assert_eq!((pool.gap_ms, pool.on_demand), (195_000, MicroUsd(3_070_000)));
    insta::assert_snapshot!(
        wrong(skynomad::pool(text, "us-east-1d", Polarity::OneIsPreempted)), @r#"/metadata/price_info/zone: must be us-east-1d, as it is imported, is "us-east-1c""#);
    let other = text.replace("p3.2xlarge", "p3.8xlarge");
    insta::assert_snapshot!(
        wrong(skynomad::pool(&other, "us-east-1c", Polarity::OneIsPreempted)), @r#"/metadata/price_info/instance_type: must be p3.2xlarge, as it is imported, is "p3.8xlarge""#);
    let short = text.replace(",1.3]", "]");
    insta::assert_snapshot!(
        wrong(skynomad::pool(&short, "us-east-1c", Polarity::OneIsPreempted)), @"has 2 prices for 3 ticks; must have one a tick");
}

#[test]
fn zones_make_one_market_with_a_window_and_egress() {
    let text = |data: &str| {
        format!(r#"{{"metadata":{{"gap_seconds":600}},"preempted":"{data}","prices":[1,2,3,4]}}"#)
    };
    let (first, second) = (text("0101"), text("1100"));
    let inputs = [
        Input { name: "x/us-east-1c_v100_1.json.gz", text: &first },
        Input { name: "x/us-west-2a_v100_1/full.json", text: &second },
    ];
    let mut options = options(Polarity::OneIsPreempted);
    options.start_ms = 1_300_000;
    options.egress =
        Some("from_region,to_region,price_usd_per_gb\nus-east-1,us-west-2,0.02\n".into());
    let markets = market(MarketFormat::Skynomad, &inputs, &options).expect("a market").value;
    let recording = &markets[0].recording;
    let zones: Vec<&str> = recording.pools.iter().map(|pool| pool.zone.as_ref()).collect();
    assert_eq!(zones, ["us-east-1c", "us-west-2a"]);
    assert_eq!(recording.pools[0].machines, Depth::PerTick(vec![1, 0]));
    assert_eq!(recording.pools[1].machines, Depth::PerTick(vec![1, 1]));
    let prices = [3_000_000, 4_000_000].map(MicroUsd).to_vec();
    assert_eq!(recording.pools[1].spot, Prices::PerTick(prices));
    assert_eq!(recording.egress_per_gb("us-east-1c", "us-west-2a"), MicroUsd(20_000));
    options.start_ms = 2_400_000;
    insta::assert_snapshot!(wrong(market(MarketFormat::Skynomad, &inputs, &options)), @"all records end before 2400000 ms");
    let twice = [inputs[0], inputs[0]];
    insta::assert_snapshot!(wrong(market(MarketFormat::Skynomad, &twice, &options)), @"each file must be of another zone; are us-east-1c, us-east-1c");
    let nameless = [Input { name: "a.json", text: &first }];
    insta::assert_snapshot!(wrong(market(MarketFormat::Skynomad, &nameless, &options)), @"a.json: neither the file nor its name has a zone; say which");
}

#[test]
fn counts_are_machines_to_be_had() {
    let text = r#"{"metadata":{"gap_seconds":600},"data":[0,16,3,1]}"#;
    let pool = |polarity| {
        one(MarketFormat::SpotTraces, ("europe-west1-c_h100_16.json", text), &options(polarity))
    };
    let recording = pool(Polarity::OneIsAvailable).expect("a market");
    assert_eq!(recording.pools[0].machines, Depth::PerTick(vec![0, 16, 3, 1]));
    assert_eq!(recording.pools[0].zone.as_ref(), "europe-west1-c");
    insta::assert_snapshot!(wrong(pool(Polarity::OneIsPreempted)), @"
    europe-west1-c_h100_16.json: /data/1: must be 0 or 1 where one is preempted (a count is of machines to be had), is 16
    europe-west1-c_h100_16.json: /data/2: must be 0 or 1 where one is preempted (a count is of machines to be had), is 3
    ");
    // The two polarities are each other's inverse.
    let text = r#"{"metadata":{"gap_seconds":600},"data":"0110"}"#;
    for (polarity, depth) in
        [(Polarity::OneIsAvailable, [0, 1, 1, 0]), (Polarity::OneIsPreempted, [1, 0, 0, 1])]
    {
        let machine = Machine::p3_2xlarge();
        let pool = spot_traces::pool(text, "z", &machine, polarity).expect("a pool");
        assert_eq!(pool.machines, Depth::PerTick(depth.to_vec()));
    }
}

#[test]
fn a_step_series_is_sampled_at_the_starts_of_ticks() {
    let machine = Machine::p3_2xlarge();
    let depth = |text: &str, gap_ms| Ok(parcae::pool(text, "z", &machine, gap_ms)?.machines);
    let text = "0,1\n0,2\n\n60000,3\n130000,9\n180000,4\n";
    assert_eq!(depth(text, 60_000), Ok(Depth::PerTick(vec![2, 3, 3, 4])));
    assert_eq!(depth(text, 90_000), Ok(Depth::PerTick(vec![2, 3, 4])));
    insta::assert_snapshot!(wrong(depth("5,1\n3,2\nx,1\n4\n", 1_000)), @"
    line 1: the first line must be of 0 ms, is of 5
    line 2: 3 ms must not come before 5 ms
    line 3: must be `milliseconds,nodes`, is `x,1`
    line 4: must be `milliseconds,nodes`, is `4`
    ");
    assert!(depth("", 1_000).is_err());
    assert!(depth("0,1\n3000000000000,1", 1).is_err());
    assert!(depth("0,1", 0).is_err());
}

const TYPES: &str = "instance_type,arch,instance-cpu,instance-memory,instance-gpu-count\n\
    c5.large,amd64,2,4096,\ng5.xlarge,amd64,4,16384,1\nc6g.large,arm64,2,4096,\n\
    x9.large,amd64,2,1,\n";
const PRICES: &str = "region,instance_type,usd_per_hour\nus-east-1,c5.large,0.085\n\
    us-east-1,g5.xlarge,1.006\nus-east-1,c6g.large,0.068\nus-west-2,x9.large,1\n";
const ADVISOR: &str = r#"{"ranges": [], "spot_advisor": {"us-east-1": {"Windows": {}, "Linux":
    {"c5.large": {"s": 59, "r": 0}, "c6g.large": {"s": 50, "r": 4}}}}}"#;

fn catalogue(
    texts: &[&str],
    options: &catalog::Options,
) -> Result<Imported<Recording>, ImportError> {
    let inputs: Vec<_> = texts.iter().map(|text| Input { name: "file", text }).collect();
    catalog::read(&inputs, options)
}

#[test]
fn catalogues_make_a_market_of_many_types() {
    let options = catalog::Options {
        zones: vec!["us-east-1a".into(), "us-east-1b".into()],
        memory_overhead_permille: 75,
        machines: 40,
        ..catalog::Options::default()
    };
    let Imported { value, notes } =
        catalogue(&[ADVISOR, TYPES, PRICES], &options).expect("a market");
    let shown: Vec<String> = value
        .pools
        .iter()
        .map(|pool| {
            let (zone, kind, capacity) = (&pool.zone, &pool.instance_type, pool.capacity);
            format!(
                "{zone} {kind} {} MiB, {} GPUs, {} / {:?}, {:?}, hazard {}",
                capacity.memory_mib,
                capacity.gpus,
                pool.on_demand,
                pool.spot,
                pool.machines,
                pool.hazard_ppm_hour
            )
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @"
    us-east-1a c5.large 3788 MiB, 0 GPUs, $0.085000 / Constant(MicroUsd(34850)), Constant(40), hazard 35
    us-east-1a g5.xlarge 15155 MiB, 1 GPUs, $1.006000 / Constant(MicroUsd(1006000)), Constant(0), hazard 0
    us-east-1b c5.large 3788 MiB, 0 GPUs, $0.085000 / Constant(MicroUsd(34850)), Constant(40), hazard 35
    us-east-1b g5.xlarge 15155 MiB, 1 GPUs, $1.006000 / Constant(MicroUsd(1006000)), Constant(0), hazard 0
    ");
    insta::assert_snapshot!(notes.join("\n"), @"
    2 types in 2 zones
    1 types have no on-demand price here and are left out
    1 types are not in the Spot Advisor's data and are on demand only
    capacity is an assumption: 40 spot machines of each pool
    ");
    let arm = catalog::Options { architecture: "arm64".to_owned(), ..catalog::Options::default() };
    let value = catalogue(&[TYPES, PRICES, ADVISOR], &arm).expect("a market").value;
    assert_eq!(value.pools.len(), 1);
    let only = catalog::Options { only: vec!["g5".to_owned()], ..catalog::Options::default() };
    let value = catalogue(&[TYPES, PRICES, ADVISOR], &only).expect("a market").value;
    assert_eq!(value.pools[0].instance_type.as_ref(), "g5.xlarge");
}

#[test]
fn motos_records_are_types_as_well() {
    let moto = r#"{"g5.12xlarge": {"VCpuInfo": {"DefaultVCpus": 48}, "Hypervisor": "nitro",
        "MemoryInfo": {"SizeInMiB": 196608}, "GpuInfo": {"Gpus": [{"Count": 4, "Name": "A10G"}]},
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]}}}"#;
    let prices = "region,instance_type,usd_per_hour\nus-east-1,g5.12xlarge,5.672\n";
    let options = catalog::Options::default();
    let value = catalogue(&[moto, prices, ADVISOR], &options).expect("a market").value;
    let capacity = value.pools[0].capacity;
    assert_eq!((capacity.cpu_millis, capacity.memory_mib, capacity.gpus), (48_000, 196_608, 4));
}

#[test]
fn catalogues_that_do_not_go_together_are_refused() {
    let options = catalog::Options::default();
    insta::assert_snapshot!(wrong(catalogue(&[TYPES, PRICES], &options)), @r#"no file has the Spot Advisor's data ({"spot_advisor": ..}) for us-east-1"#);
    let elsewhere = catalog::Options { region: "mars-1".to_owned(), ..options.clone() };
    insta::assert_snapshot!(wrong(catalogue(&[TYPES, PRICES, ADVISOR], &elsewhere)), @"file: /spot_advisor: must have mars-1; has us-east-1");
    let bad = ADVISOR.replace("\"r\": 4", "\"r\": 5").replace("59", "101");
    let table = TYPES.replace("2,4096", "two,-1");
    insta::assert_snapshot!(wrong(catalogue(&[&bad, &table, "a,b\n1,2"], &options)), @"
    file: /spot_advisor/us-east-1/Linux/c5.large/s: must be a whole number from 0 to 100, is 101
    file: /spot_advisor/us-east-1/Linux/c6g.large/r: must be a bucket from 0 to 4, is 5
    file: line 2, instance-cpu: must be a whole number from 1 to 1000000, is `two`
    file: line 2, instance-memory: must be a whole number from 1 to 1000000000, is `-1`
    file: line 4, instance-cpu: must be a whole number from 1 to 1000000, is `two`
    file: line 4, instance-memory: must be a whole number from 1 to 1000000000, is `-1`
    file: line 1: must have a column `instance_type`; has a,b
    file: line 1: must have a column `arch`; has a,b
    file: line 1: must have a column `instance-cpu`; has a,b
    file: line 1: must have a column `instance-memory`; has a,b
    file: line 1: must have a column `instance-gpu-count`; has a,b
    ");
    let none = catalog::Options { only: vec!["z1d".to_owned()], ..options };
    insta::assert_snapshot!(wrong(catalogue(&[TYPES, PRICES, ADVISOR], &none)), @"0 types in 1 zones are 0 pools; must be 1 to 10000");
}

#[test]
fn zones_are_found_in_names() {
    for (name, zone) in [
        ("us-east-1c_v100_1.json.gz", Some("us-east-1c")),
        ("a/us-west-2a_v100_1/full.json", Some("us-west-2a")),
        ("gcp/us-central1-a_h100.json", Some("us-central1-a")),
        ("my-file.json", None),
        ("full.json", None),
    ] {
        assert_eq!(spot_traces::zone_of(name).as_deref(), zone, "{name}");
    }
}

#[test]
fn what_is_no_record_at_all() {
    for text in ["", "[]", "{}", "nonsense", "{\"metadata\":{}}", "{\"zones\":7}"] {
        for (_, format) in Format::ALL {
            let Format::Market(format) = format else { continue };
            let input = Input { name: "us-east-1a.json", text };
            let error = market(format, &[input], &options(Polarity::OneIsPreempted));
            let error = error.expect_err("must be refused");
            assert!(
                !error.0.is_empty() && error.to_string().len() > 10,
                "{format} {text}: {error}"
            );
        }
    }
}
