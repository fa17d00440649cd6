//! One profile with a great many identifiers, which a limit would have prevented: what it costs the others, and itself.

use customerdb::{Cdp, Event, ManualClock, Rules};

use crate::common::{Outcome, Way, now, print, size, timed};

/// How many calls of one event each.
const CALLS: usize = 500;

pub(crate) fn bench() -> Outcome {
    let (identifiers, rounds) = (size(100_000, 20_000), size(7, 5));
    println!(
        "\nstitch: one person with {identifiers} identifiers, {CALLS} calls of one event each, {rounds} rounds, medians"
    );
    let mut ways = [
        Way::new("a new identifier of somebody else, before there is a giant", CALLS),
        Way::new("a new identifier of somebody else, beside it", CALLS),
        Way::new("a new identifier of the giant itself", CALLS),
    ];
    for _ in 0..rounds {
        let cdp = Cdp::builder().clock(ManualClock::at(now())).rules(Rules::unlimited()).in_memory()?;
        // As large a database as it will be, without a giant.
        for from in (0..identifiers).step_by(10_000) {
            let until = identifiers.min(from + 10_000);
            cdp.ingest((from..until).map(|n| joined(&format!("somebody-{}", n / 4), "before", n)))?;
        }
        ways[0].add(calls(&cdp, "somebody-0", "others")?);
        for from in (0..identifiers).step_by(10_000) {
            let until = identifiers.min(from + 10_000);
            cdp.ingest((from..until).map(|n| joined("giant", "many", n)))?;
        }
        ways[1].add(calls(&cdp, "somebody-1", "beside")?);
        ways[2].add(calls(&cdp, "giant", "own")?);
    }
    print("A call, committed in memory", "calls", &ways);
    Ok(())
}

/// An event that gives somebody a new device.
fn joined(who: &str, kind: &str, number: usize) -> Event {
    Event::identify()
        .user_id(who)
        .anonymous_id(format!("{kind}-{number}"))
        .message_id(format!("{kind}-{number}"))
        .at(now())
}

fn calls(cdp: &Cdp, who: &str, kind: &str) -> customerdb::Result<std::time::Duration> {
    let (time, done) = timed(|| (0..CALLS).try_for_each(|n| cdp.ingest([joined(who, kind, n)]).map(|_| ())));
    done.map(|()| time)
}
