//! Amounts as people write them on the command line.

use model::{MicroUsd, Resources, parse_cpu_millis, parse_duration_ms, parse_mebibytes};
use simulator::files::MACHINE_DISK_MIB;
use simulator::work::Checkpoint;

/// A decimal with so many places at most, exactly: `"0.9731"` with 6 places is 973,100.
fn scaled(text: &str, places: u32) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a number with at most {places} decimal places");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    if whole.is_empty() || !digits(whole) || !digits(part) || length > places {
        return Err(wrong());
    }
    let (whole, scale) = (whole.parse::<u64>().ok(), 10_u64.pow(places));
    let part = if part.is_empty() { Some(0) } else { part.parse::<u64>().ok() };
    let part = part.map(|part| part * 10_u64.pow(places - length));
    let whole = whole.and_then(|whole| whole.checked_mul(scale));
    whole.zip(part).and_then(|(whole, part)| whole.checked_add(part)).ok_or_else(wrong)
}

/// US dollars.
pub(super) fn usd(text: &str) -> Result<MicroUsd, String> {
    let micro = scaled(text.strip_prefix('$').unwrap_or(text), 6)?;
    i64::try_from(micro).map(MicroUsd).map_err(|_| format!("`{text}` is too much"))
}

/// Per cent, with or without its sign, to thousandths.
pub(super) fn permille(text: &str) -> Result<u32, String> {
    let number = scaled(text.strip_suffix('%').unwrap_or(text).trim_end(), 1)?;
    let number = u32::try_from(number).ok().filter(|number| *number <= 1_000);
    number.ok_or_else(|| format!("`{text}` is more than 100 per cent"))
}

/// Thousandths of a GiB.
pub(super) fn milligib(text: &str) -> Result<u64, String> {
    scaled(text, 3)
}

/// `least-most`, of a task's changeover and work, in thousandths.
pub(super) fn slack(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("`{text}` is not like 1.5-4");
    let (least, most) = text.split_once('-').ok_or_else(wrong)?;
    let number = |text| u32::try_from(scaled(text, 3)?).map_err(|_| wrong());
    Ok((number(least)?, number(most)?))
}

/// `continuous`, `none`, or `PERIOD:COST`.
pub(super) fn checkpoint(text: &str) -> Result<Checkpoint, String> {
    match (text, text.split_once(':')) {
        ("continuous", _) => Ok(Checkpoint::Continuous),
        ("none", _) => Ok(Checkpoint::None),
        (_, Some((period, cost))) => Ok(Checkpoint::Periodic {
            period_ms: parse_duration_ms(period)?,
            cost_ms: parse_duration_ms(cost)?,
        }),
        (_, None) => Err(format!("`{text}` is not `continuous`, `none` or like 10m:20s")),
    }
}

/// What a machine has or a task needs: `CPU:MEMORY[:GPUS]`.
pub(super) fn resources(text: &str) -> Result<Resources, String> {
    let parts: Vec<_> = text.split(':').collect();
    let (cpu, memory, gpus) = match parts[..] {
        [cpu, memory] => (cpu, memory, "0"),
        [cpu, memory, gpus] => (cpu, memory, gpus),
        _ => return Err(format!("`{text}` is not like 4:16GiB or 8:61GiB:1")),
    };
    Ok(Resources {
        cpu_millis: parse_cpu_millis(cpu)?,
        memory_mib: parse_mebibytes(memory)?,
        disk_mib: MACHINE_DISK_MIB,
        gpus: gpus.parse().map_err(|_| format!("`{gpus}` is not a number of GPUs"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly_or_refused() {
        assert_eq!((usd("3.06"), usd("$0.9731")), (Ok(MicroUsd(3_060_000)), Ok(MicroUsd(973_100))));
        for bad in ["", ".5", "1e3", "-1", "0.1234567", "99999999999999999999", "9300000000000"] {
            assert!(usd(bad).is_err(), "{bad}");
        }
        assert_eq!(
            (permille("64.4"), permille("100%"), permille("0")),
            (Ok(644), Ok(1_000), Ok(0))
        );
        assert!(permille("100.1").is_err() && permille("1.25").is_err());
        assert_eq!((milligib("50"), milligib("0.125")), (Ok(50_000), Ok(125)));
        assert_eq!(slack("1.5-4"), Ok((1_500, 4_000)));
        assert!(slack("2").is_err());
    }

    #[test]
    fn shapes_are_read_in_parts() {
        let gpu = resources("8:61GiB:1").map(|it| (it.cpu_millis, it.memory_mib, it.gpus));
        assert_eq!(gpu, Ok((8_000, 62_464, 1)));
        assert!(resources("8").is_err() && resources("8:1GiB:x").is_err());
        assert_eq!(checkpoint("none"), Ok(Checkpoint::None));
        let periodic = Checkpoint::Periodic { period_ms: 600_000, cost_ms: 20_000 };
        assert_eq!(checkpoint("10m:20s"), Ok(periodic));
        assert!(checkpoint("hourly").is_err());
    }
}
