//! What a hand decides: it holds, it is sound at once, and stitching everything anew changes nothing about it.

use customerdb::{Cdp, Event, Rules, Source, minutes};

use crate::support::{NOW, ids, memory, partition, sound};

/// Stitching everything anew changes nobody, and nobody's id.
fn settled(cdp: &Cdp) {
    sound(cdp);
    let before = (partition(cdp), ids(cdp));
    assert_eq!(cdp.restitch().unwrap().changed, 0);
    assert_eq!((partition(cdp), ids(cdp)), before);
    sound(cdp);
}

/// The check of the evidence counted events only, so a link in an empty file was reported as damage.
#[test]
fn a_link_before_the_first_event_is_sound() {
    let cdp = memory(Rules::default());
    cdp.link("user_id:u1", "anonymous_id:a1").unwrap();
    assert_eq!(partition(&cdp), [["anonymous_id:a1", "user_id:u1"]]);
    settled(&cdp);
}
