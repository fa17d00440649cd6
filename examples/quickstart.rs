//! A traveller's story: from a visitor without a name to a customer of whom everything is known.
//!
//! Wang Xiaoming dreams of Antarctica. He meets a travel app five times: on a tablet, on a phone, and in `WeChat`,
//! under another name each time. The app links `customerdb` and hands over what happens, and at every step we ask
//! the library the same three things: who is he by now, what is known of him, and how do you know?
//!
//! ```text
//! cargo run --release --example quickstart
//! ```

use customerdb::{
    Cdp, Event, Link, ManualClock, Profile, Result, Segment, Source, Timestamp, all, days, did, has_trait,
};

const TABLET: &str = "anonymous_id:tablet-7f3a";

fn main() -> Result<()> {
    // A database of its own in memory, and a clock that we set: the story is the same at every run.
    let clock = ManualClock::at(may(1, 20));
    let cdp = Cdp::builder().clock(clock.clone()).in_memory()?;
    let [web, app, wechat] = ["web", "app", "wechat"].map(Source::new);

    // Whoever searched for Antarctica within 30 days is worth a letter from the captain…
    cdp.define(Segment::new(
        "dreams-of-antarctica",
        did("Search").where_property("query").contains("Antarctica").within(days(30)),
    ))?;
    // … and whoever then books with children on board gets a cabin beside the penguin nursery.
    cdp.define(Segment::new(
        "polar-families",
        all([has_trait("children").gte(1), did("Order Completed").where_property("ship").eq("Aurora")]),
    ))?;

    chapter("1 May", "On a tablet, a visitor without a name searches for Antarctica.");
    cdp.ingest_from(
        &web,
        [
            Event::page().named("Home").anonymous_id("tablet-7f3a"),
            Event::track("Search").anonymous_id("tablet-7f3a").property("query", "cruises to Antarctica"),
        ],
    )?;
    let visitor = meet(&cdp, TABLET)?;

    clock.set(may(3, 21));
    chapter("3 May", "On the same tablet he orders the brochure, with his name and phone number.");
    cdp.ingest_from(
        &web,
        [Event::track("Brochure Ordered")
            .message_id("brochure-17")
            .anonymous_id("tablet-7f3a")
            .context_trait("name", "王小明 Wang Xiaoming")
            .context_trait("phone", "+86 138 0000 0002")],
    )?;
    meet(&cdp, "phone:+86 138-0000-0002")?;

    clock.set(may(4, 8));
    chapter("4 May", "On the train he installs the app on his phone: a stranger again, for a minute.");
    cdp.ingest_from(&app, [Event::screen().named("Welcome").anonymous_id("phone-c41d")])?;
    let stranger = meet(&cdp, "anonymous_id:phone-c41d")?;

    clock.set(may(4, 9));
    chapter("4 May", "Then he registers there: a user id, an e-mail address, and the phone number.");
    let report = cdp.ingest_from(
        &app,
        [Event::identify()
            .message_id("registration-5")
            .anonymous_id("phone-c41d")
            .user_id("xiaoming")
            .with_trait("email", "Xiaoming@Example.com")
            .with_trait("phone", "+8613800000002")],
    )?;
    println!("  The number tells: two profiles were one person. Merged: {}.", report.merges);
    println!("  The older profile's id stays; the stranger's now leads to it.\n");
    meet(&cdp, stranger.id)?;

    clock.set(may(6, 19));
    chapter("6 May", "At the kitchen table he buys the family ticket: two adults and one child.");
    cdp.ingest_from(
        &app,
        [Event::track("Order Completed")
            .message_id("order-1001")
            .user_id("xiaoming")
            .property("ship", "Aurora")
            .property("ticket", "family")
            .property("adults", 2)
            .property("children", 1)
            .property("revenue", 88_000)
            .property("currency", "CNY")
            .context_trait("children", 1)],
    )?;
    meet(&cdp, "user_id:xiaoming")?;

    clock.set(may(7, 12));
    chapter("7 May", "From the ticket's QR code he follows the ship's WeChat account.");
    cdp.ingest_from(
        &wechat,
        [Event::track("Account Followed")
            .message_id("follow-88")
            .user_id("xiaoming")
            .context_trait("openid", "oAurora_9fK2")],
    )?;
    let customer = meet(&cdp, "openid:oAurora_9fK2")?;

    chapter("Ever after", "One person throughout, whichever of his names you ask for:");
    for name in &customer.identifiers {
        if let Some(profile) = cdp.profile(name)? {
            println!("  {:<34}{}", name.to_string(), profile.id);
            assert_eq!(profile.id, visitor.id, "the visitor of 1 May");
        }
    }
    println!("\n  … and all that he did, the latest first:\n");
    for event in cdp.events(customer.id, 10)? {
        println!("  {}   {}", event.at, event.name);
    }
    println!("\n  People in the database: {}", cdp.profiles()?.len());
    Ok(())
}

/// Prints who somebody is by now, what is known of him, and why he is taken for the visitor on the tablet, or not.
fn meet(cdp: &Cdp, id: impl ToString) -> Result<Profile> {
    let id = id.to_string();
    let Some(profile) = cdp.profile(&id)? else { unreachable!("his events have just been taken in") };
    println!("  who       {}   (profile {})", profile.name, profile.id);
    say("also", profile.identifiers.iter().skip(1).map(ToString::to_string));
    say("traits", profile.traits.iter().map(|(name, known)| format!("{name} = {}", known.value)));
    say("segments", profile.segments.iter().cloned());
    let explanation = cdp.explain(TABLET, &id)?;
    say(
        "why",
        match explanation.path.as_slice() {
            [] if explanation.same => vec!["he has no other name yet".into()],
            [] => vec![format!("nothing links him to {TABLET}")],
            path => path.iter().map(told).collect(),
        }
        .into_iter(),
    );
    println!();
    Ok(profile)
}

/// A piece of evidence in words.
fn told(link: &Link) -> String {
    format!("{} = {}, says {} ({})", link.a, link.b, link.message_id, link.source)
}

/// Prints what there is to say under a heading, one line each.
fn say(heading: &str, lines: impl Iterator<Item = String>) {
    for (number, line) in lines.enumerate() {
        println!("  {:<10}{line}", if number == 0 { heading } else { "" });
    }
}

fn chapter(when: &str, what: &str) {
    println!("── {when} {}\n  {what}\n", "─".repeat(72_usize.saturating_sub(when.chars().count())));
}

/// A full hour of May 2026.
fn may(day: i64, hour: i64) -> Timestamp {
    const FIRST: i64 = 1_777_593_600_000;
    Timestamp::from_millis(FIRST + ((day - 1) * 24 + hour) * 3_600_000)
}
