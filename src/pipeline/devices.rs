//! Whose an anonymous event is on a device that several users share, where the rules give it to whom was seen last.

use crate::clock::Timestamp;
use crate::error::Result;
use crate::identity::{Node, Resolution, Rules, SharedDevice};
use crate::store::Db;

/// Notes an event that is resolved and stored, and gives whose it is. Users seen on a device take over the anonymous
/// events that came after them and before anybody else: the old and new owners of such events are added to `touched`.
pub(crate) fn attribute(
    db: &Db,
    rules: &Rules,
    resolution: &Resolution,
    (number, at, message_id): (i64, Timestamp, &str),
    touched: &mut Vec<Node>,
) -> Result<Node> {
    let owner = resolution.owner;
    if rules.shared_device_policy() != SharedDevice::Last {
        return Ok(owner);
    }
    if resolution.anonymous {
        for &device in &resolution.devices {
            db.add_anonymous(device, at, message_id, number)?;
        }
        return last_seen(db, &resolution.devices, at, message_id, owner);
    }
    for &device in &resolution.devices {
        db.add_sighting(device, at, message_id, owner)?;
        for loose in db.anonymous_after(device, at, message_id)? {
            let Some(from) = db.event(loose.event)?.node else { continue };
            let devices = db.devices_of(loose.event)?;
            let to = last_seen(db, &devices, loose.at, &loose.message_id, from)?;
            if to != from {
                db.move_event(loose.event, &loose.message_id, from, to)?;
                touched.extend([from, to]);
            }
        }
    }
    Ok(owner)
}

/// Who was last seen on any of some devices before an event; `otherwise` if nobody was.
pub(super) fn last_seen(
    db: &Db,
    devices: &[Node],
    at: Timestamp,
    message_id: &str,
    otherwise: Node,
) -> Result<Node> {
    let mut last = None;
    for &device in devices {
        last = last.max(db.seen_before(device, at, message_id)?);
    }
    Ok(last.map_or(otherwise, |(.., user)| user))
}
