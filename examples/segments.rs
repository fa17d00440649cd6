//! Four segments that marketers name first, on a little shop's events, with why for each member.
//!
//! ```text
//! cargo run --release --example segments
//! ```

use customerdb::{
    Cdp, ChangeCause, ComputedTrait, Condition, Event, ManualClock, Segment, SegmentMove, TagRule, Timestamp,
    Value, all, any, days, did, did_not, has_tag, has_trait, hours, in_segment, is_known, not, sequence,
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
        "nudge those who looked at many products today (in the last 24 hours) and ordered nothing",
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
    // Segments can be made of segments.
    tell(
        &cdp,
        "nudge, but leave those alone who are upset",
        Segment::new("quiet-nudge", all([in_segment("nudge"), not(has_tag("upset"))])),
    )?;

    // From now on entries and exits are told as they are committed; time takes people out too.
    let subscription = cdp.subscribe(|changes| {
        for change in changes {
            let verb = if change.change == SegmentMove::Entered { "enters" } else { "leaves" };
            println!(
                "  {} {verb} {} at {}: {}",
                change.member,
                change.segment,
                change.at,
                because(&change.cause)
            );
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

/// Defines a segment, names its members, and says why they are.
fn tell(cdp: &Cdp, purpose: &str, segment: Segment) -> Outcome {
    let name = segment.name().to_owned();
    // What was built in Rust can be kept as JSON, and read again.
    assert_eq!(Condition::from_json(&segment.condition().to_value().to_string())?, *segment.condition());
    println!("\n{purpose}: {} in {name:?}", cdp.define(segment)?);
    for person in cdp.members(&name)? {
        println!("  {}", person.name);
        if let Some(why) = cdp.why(&name, person.id)? {
            explain(&why.conditions, 2);
        }
    }
    Ok(())
}

/// Why somebody came or went, in a few words.
fn because(cause: &ChangeCause) -> String {
    match cause {
        ChangeCause::Event { .. } => "something they did".into(),
        ChangeCause::Trait { name, .. } => format!("their {name}"),
        ChangeCause::Time => "time went by".into(),
        other => format!("{other:?}"),
    }
}

/// Prints a condition with what it saw, and what it is made of below it.
fn explain(node: &Value, depth: usize) {
    let mut own = node.as_object().cloned().unwrap_or_default();
    let (holds, seen) = (own.remove("holds").unwrap_or_default(), own.remove("seen").unwrap_or_default());
    let (mut parts, mut together): (Vec<Value>, Option<&str>) = (Vec::new(), None);
    for (name, said) in [("all", "all of"), ("any", "any of"), ("not", "not"), ("conditions", "")] {
        let Some(inner) = own.remove(name) else { continue };
        together = together.or(Some(said)).filter(|said| !said.is_empty());
        match inner {
            Value::Array(inner) => parts.extend(inner),
            inner => parts.push(inner),
        }
    }
    let mark = if holds == Value::Bool(true) { "yes" } else { "no" };
    let asked = match together {
        Some(together) => format!("{together}:"),
        None => format!("{}, saw {seen}", Value::from(own)),
    };
    println!("{:indent$}{mark}: {asked}", "", indent = depth * 2);
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
