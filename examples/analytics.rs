//! A shop's questions: where do people drop out, who comes back, what do the channels bring, and who are the best
//! customers?
//!
//! ```text
//! cargo run --release --example analytics
//! ```

use std::error::Error;

use customerdb::{
    Attribution, AttributionModel, By, Cdp, Event, Funnel, Interval, ManualClock, Retention, Rfm, Sessions,
    Timestamp, days, did, minutes, seconds,
};

/// How many visitors the shop has in its twelve weeks.
const VISITORS: u64 = 2_000;
const WEEKS: u64 = 12;

fn main() -> Result<(), Box<dyn Error>> {
    let opening: Timestamp = "2026-01-05T00:00:00Z".parse()?;
    let closing = opening.after(days(84));
    let cdp = Cdp::builder().clock(ManualClock::at(closing)).zone("UTC".parse()?).in_memory()?;
    let report = cdp.ingest(shop(opening))?;
    println!("A shop of {} events and {} people\n", report.accepted, cdp.stats()?.profiles);

    println!("How far do people get within a day, by the channel of their first view?\n");
    let funnel = Funnel::new([did("Product Viewed"), did("Product Added"), did("Order Completed")])
        .within(days(1))
        .by(By::property("channel").top(2));
    println!("{}", cdp.funnel(&funnel)?);

    println!("Of those who came for the first time in a week, how many come back in the weeks after?\n");
    let retention =
        Retention::new(did("Product Viewed"), did("Product Viewed")).every(Interval::Week).first_time();
    println!("{}", cdp.retention(&retention.periods(8))?);

    let orders =
        Attribution::of(did("Order Completed")).touches(did("Product Viewed"), "channel").lookback(days(30));
    for (question, model) in [
        ("Which channel came last before an order?", AttributionModel::Last),
        ("Without which would orders be lost (Markov)?", AttributionModel::Markov),
        ("And what is each one's fair share (Shapley)?", AttributionModel::Shapley),
    ] {
        println!("{question}\n\n{}", cdp.attribution(&orders.clone().model(model))?);
    }

    println!("What is a visit like?\n\n{}", cdp.sessions(&Sessions::default())?);

    println!("Who are the best customers?\n");
    println!("{}", cdp.rfm(&Rfm::new(did("Order Completed"), "revenue").at(closing))?);
    Ok(())
}

/// The events of the shop: visitors come by a channel on a device, some come back, and those who order are known.
fn shop(opening: Timestamp) -> Vec<Event> {
    let mut dice = Dice(7);
    let mut events = Vec::new();
    for visitor in 0..VISITORS {
        let device = format!("device-{visitor}");
        let mut at = opening.after(minutes(dice.below(WEEKS * 7 * 24 * 60)));
        let loyal = dice.below(3) == 0;
        loop {
            let channel =
                ["search", "ads", "mail", "social", "direct"][dice.below(5).min(dice.below(5)) as usize];
            let event =
                |name: &str, at| Event::track(name).anonymous_id(&device).property("channel", channel).at(at);
            for _ in 0..=dice.below(4) {
                events.push(event("Product Viewed", at));
                at = at.after(seconds(20 + dice.below(400)));
            }
            if dice.below(5) < 2 {
                events.push(event("Product Added", at));
                at = at.after(minutes(1 + dice.below(20)));
                if dice.below(if channel == "mail" { 2 } else { 3 }) == 0 {
                    let cents = 500 + dice.below(20_000);
                    let revenue =
                        format!("{}.{:02}", cents / 100, cents % 100).parse::<f64>().unwrap_or_default();
                    let order = event("Order Completed", at).user_id(format!("customer-{visitor}"));
                    events.push(order.property("revenue", revenue));
                }
            }
            at = at.after(minutes(dice.below(if loyal { 10 } else { 40 } * 24 * 60)));
            if at >= opening.after(days(7 * 12)) || dice.below(if loyal { 8 } else { 2 }) == 0 {
                break;
            }
        }
    }
    events.retain(|event| event.time(opening) < opening.after(days(84)));
    events
}

/// The same numbers on every machine (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % n).unwrap_or(0)
    }
}
