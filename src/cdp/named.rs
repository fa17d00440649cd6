//! What a caller names a person by.

use crate::error::{DefinitionError, Error, Result};
use crate::id::{Identifier, ProfileId, mask};
use crate::identity::{Draft, Node, strongest};
use crate::pipeline::State;
use crate::store::Db;

/// What a text stands for: a profile, or an identifier that may be nobody's.
#[derive(Clone)]
pub(super) enum Named {
    Profile(ProfileId),
    Identifier(Identifier),
}

impl Named {
    pub(super) fn read(text: &str) -> Result<Self> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Profile(id));
        }
        text.parse().map(Self::Identifier).map_err(|_| Error::NotAnId(mask(text)))
    }

    /// A node of whoever is named.
    pub(super) fn node(&self, db: &Db, state: &State) -> Result<Option<Node>> {
        Ok(match self {
            // Whose identifiers were let go of is nobody.
            Self::Profile(id) => {
                db.founder(*id)?.filter(|node| !state.identities.interner.is_forgotten(*node))
            }
            Self::Identifier(identifier) => state.identities.find(&state.rules, identifier),
        })
    }

    /// The identifier that is named, which need not be known yet: of a profile its strongest. One that is known may be
    /// blocked by now, unless it is to be linked. `member` is what an error is to call it.
    pub(super) fn intern(
        &self,
        db: &Db,
        state: &State,
        draft: &mut Draft,
        (member, to_link): (&str, bool),
    ) -> Result<Node> {
        let identities = &state.identities;
        let wrong = |reason: String| Error::from(DefinitionError::new(member, reason));
        match self {
            Self::Profile(id) => {
                let root = db.founder(*id)?.and_then(|node| identities.partition.root(node));
                let members = root.into_iter().flat_map(|root| identities.partition.members(root));
                let found = strongest(identities, &state.rules, members);
                found.ok_or_else(|| wrong(format!("nobody has the profile id {id}")))
            }
            Self::Identifier(identifier) => {
                if let Some(known) = identities.find(&state.rules, identifier).filter(|_| !to_link) {
                    return Ok(known);
                }
                let value = state.rules.normalised(identifier).map_err(wrong)?;
                let spelled = Identifier::new(identifier.namespace().clone(), &*value);
                if identities.find(&state.rules, identifier).is_none() && state.is_suppressed(db, &spelled)? {
                    return Err(wrong(
                        "suppressed: whose it was is erased; lift the suppression first".to_owned(),
                    ));
                }
                let node = draft.intern(identities, identifier.namespace(), &value);
                node.ok_or_else(|| wrong("there is no room for another namespace".to_owned()))
            }
        }
    }
}

/// One end of an explanation.
pub(super) struct End {
    pub(super) identifier: Identifier,
    pub(super) node: Option<Node>,
    /// The root of whoever holds it.
    pub(super) root: Option<Node>,
}

impl End {
    /// A profile id stands for the profile's name, and an identifier in any spelling for the one that is kept.
    pub(super) fn of(named: Named, db: &Db, state: &State) -> Result<Self> {
        let identities = &state.identities;
        let node = named.node(db, state)?;
        let root = node.and_then(|node| identities.partition.root(node));
        let (shown, given) = match named {
            Named::Identifier(given) => (node, given),
            Named::Profile(id) => {
                let members = root.into_iter().flat_map(|root| identities.partition.members(root));
                (strongest(identities, &state.rules, members), Identifier::new("profile", id.to_string()))
            }
        };
        let identifier = shown.map_or(given, |node| identities.interner.identifier(node));
        Ok(Self { identifier, node: shown, root })
    }
}
