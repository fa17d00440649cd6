//! Four segments that marketers name first, on a little shop's events, with why for one member of each.
//!
//! ```text
//! cargo run --release --example segments
//! ```

use customerdb::{
    Cdp, ComputedTrait, Condition, Event, ManualClock, Segment, SegmentMove, TagRule, Timestamp, Value, all,
    any, days, did, did_not, has_tag, has_trait, hours, in_segment, is_known, not, sequence,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let now: Timestamp = "2024-05-20T18:00:00Z".parse()?;
    let clock = ManualClock::at(now);
    let cdp = Cdp::builder().clock(clock.clone()).in_memory()?;
    cdp.ingest(a_spring_in_the_shop(now))?;

    // What segments may rest on: a trait that is worked out of events, and a tag that is set by rule.
    cdp.define_trait(ComputedTrait::count("orders", did("Order Completed")))?;
    cdp.define_trait(ComputedTrait::days_since_last("idle_days", did("*")))?;
    cdp.define_tag(TagRule::new(
        "upset",
        any([
            did("Ticket Opened").where_property("mood").eq("angry").within(days(14)),
            // A ticket that nobody answered within two days.
            sequence([did("Ticket Opened"), did_not("Ticket Answered")]).within(days(2)).same("ticket"),
        ]),
    ))?;

    tell(
        &cdp,
        "bring back visitors who never bought",
        Segment::new(
            "bring-back",
            all([did("$page").within(days(30)), did_not("$page").within(days(3)), has_trait("orders").eq(0)]),
        ),
    )?;
    tell(
        &cdp,
        "nudge those who looked at many products today and ordered nothing",
        Segment::new(
            "nudge",
            all([
                did("Product Viewed").within(hours(24)).unique("sku").gte(3),
                did_not("Order Completed").within(hours(24)),
            ]),
        ),
    )?;
    tell(
        &cdp,
        "win back those silent for 60 days who had bought twice",
        Segment::new("win-back", all([has_trait("idle_days").gte(60), has_trait("orders").gte(2)])),
    )?;
    tell(
        &cdp,
        "greet birthdays, and look after people with a bad experience",
        Segment::new(
            "care",
            all([is_known(), any([has_trait("birthday").anniversary_within(7), has_tag("upset")])]),
        ),
    )?;
    // Whom to leave alone: segments can be made of segments.
    cdp.define(Segment::new("quiet-nudge", all([in_segment("nudge"), not(has_tag("upset"))])))?;

    // From now on entries and exits are told as they are committed; time takes people out too.
    let subscription = cdp.subscribe(|changes| {
        for change in changes {
            let verb = if change.change == SegmentMove::Entered { "enters" } else { "leaves" };
            println!("  {} {verb} {} at {} ({:?})", change.member, change.segment, change.at, change.cause);
        }
    })?;
    println!("\nZoe orders after all:");
    cdp.ingest([order("zoe", 59.9, now)])?;
    println!("a week goes by:");
    clock.set(now.after(days(7)));
    cdp.advance()?;
    drop(subscription);
    Ok(())
}

/// Defines a segment, names its members, and says why the first of them is one.
fn tell(cdp: &Cdp, purpose: &str, segment: Segment) -> Outcome {
    let name = segment.name().to_owned();
    // What was built in Rust can be kept as JSON, and read again.
    assert_eq!(Condition::from_json(&segment.condition().to_value().to_string())?, *segment.condition());
    println!("\n{purpose}: {} in {name:?}", cdp.define(segment)?);
    let members = cdp.members(&name)?;
    for person in &members {
        println!("  {}", person.name);
    }
    if let Some(first) = members.first()
        && let Some(why) = cdp.why(&name, first.id)?
    {
        println!("  why {}?", first.name);
        explain(&why.conditions, 2);
    }
    Ok(())
}

/// Prints a condition with what it saw, and what it is made of below it.
fn explain(node: &Value, depth: usize) {
    let mut own = node.as_object().cloned().unwrap_or_default();
    let (holds, seen) = (own.remove("holds").unwrap_or_default(), own.remove("seen").unwrap_or_default());
    let mut parts: Vec<Value> = Vec::new();
    for name in ["all", "any", "not", "conditions"] {
        match own.remove(name) {
            Some(Value::Array(inner)) => parts.extend(inner),
            Some(inner) => parts.push(inner),
            None => {}
        }
    }
    let mark = if holds == Value::Bool(true) { "yes" } else { "no" };
    let asked = if own.is_empty() { "together".to_owned() } else { Value::from(own).to_string() };
    println!("{:indent$}{mark}: {asked}, saw {seen}", "", indent = depth * 2);
    for part in &parts {
        explain(part, depth + 1);
    }
}

fn order(user: &str, total: f64, at: Timestamp) -> Event {
    Event::track("Order Completed").user_id(user).property("total", total).at(at)
}

/// What happened until `now`.
fn a_spring_in_the_shop(now: Timestamp) -> Vec<Event> {
    let ago = |n: u32| now.before(days(n));
    let view = |user: &str, sku: &str, before: u32| {
        Event::track("Product Viewed").user_id(user).property("sku", sku).at(now.before(hours(before)))
    };
    let ticket = |event: &str, user: &str, number: u32, at| {
        Event::track(event).user_id(user).property("ticket", number).at(at)
    };
    vec![
        // Ann looked around two weeks ago and never bought; Bea did, and bought.
        Event::page().user_id("ann").at(ago(14)),
        Event::page().user_id("bea").at(ago(14)),
        order("bea", 19.0, ago(14)),
        // Zoe looks at three products today; Yan looks at one, three times.
        view("zoe", "tent", 5),
        view("zoe", "stove", 4),
        view("zoe", "lamp", 1),
        view("yan", "tent", 5),
        view("yan", "tent", 4),
        view("yan", "tent", 3),
        // Cem bought twice in winter and was never seen again; Dan bought once.
        order("cem", 120.0, ago(120)),
        order("cem", 80.0, ago(90)),
        order("dan", 75.0, ago(90)),
        // Eve has a birthday in three days, Finn had his yesterday.
        Event::identify().user_id("eve").with_trait("birthday", "1990-05-23").at(ago(200)),
        Event::identify().user_id("finn").with_trait("birthday", "1985-05-19").at(ago(200)),
        // Gus waits for an answer since four days; Hao got his.
        ticket("Ticket Opened", "gus", 7, ago(4)),
        ticket("Ticket Opened", "hao", 8, ago(4)),
        ticket("Ticket Answered", "hao", 8, ago(3)),
    ]
}
