-- Format 1. Times are microseconds since 1970-01-01T00:00:00Z. Everything that starts with "node" is an
-- identifier's number, everything that starts with "profile" a profile's.

-- What the application has set: the rules of identity (JSON), and counters that readers compare.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sources (
    source INTEGER PRIMARY KEY,
    name   TEXT NOT NULL,
    party  TEXT NOT NULL CHECK (party IN ('first', 'second', 'third')),
    UNIQUE (name, party)
) STRICT;

CREATE TABLE namespaces (
    namespace INTEGER PRIMARY KEY,
    name      TEXT NOT NULL UNIQUE
) STRICT;

-- A join is one row here that says so, and rewrites no identifier: whose an identifier is, one learns by
-- following merged_into from the profile that it was given.
CREATE TABLE profiles (
    profile     INTEGER PRIMARY KEY,
    id          BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    founder     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    merged_into INTEGER REFERENCES profiles CHECK (merged_into < profile)
) STRICT;

-- Numbered in order of arrival. No index on the value: the application keeps one in memory, and a B-tree with
-- random keys would cost every new identifier a page. An identifier without a profile was refused wherever it
-- came, or is blocked by a later rule.
CREATE TABLE identifiers (
    node      INTEGER PRIMARY KEY,
    namespace INTEGER NOT NULL REFERENCES namespaces,
    value     TEXT NOT NULL,
    profile   INTEGER REFERENCES profiles
) STRICT;

-- The evidence: which two identifiers (a < b) events of which source bore together.
CREATE TABLE links (
    a          INTEGER NOT NULL,
    b          INTEGER NOT NULL,
    source     INTEGER NOT NULL REFERENCES sources,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    PRIMARY KEY (a, b, source),
    CHECK (a < b)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_b ON links (b);

CREATE TABLE event_names (
    name INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
) STRICT;

-- The log: every accepted event as it was given, in order of arrival. It points to the strongest identifier
-- that its resolution accepted; to none, if a later rule blocks them all.
CREATE TABLE events (
    event      INTEGER PRIMARY KEY,
    node       INTEGER,
    at         INTEGER NOT NULL,
    name       INTEGER NOT NULL REFERENCES event_names,
    source     INTEGER NOT NULL REFERENCES sources,
    message_id TEXT NOT NULL UNIQUE,
    json       TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_node ON events (node, at);

-- Everything below is made from the log, and is remade from it when rules change.

-- Every value that an event asserted of the person who owns the node; the latest by (at, message_id) stands.
CREATE TABLE traits (
    node       INTEGER NOT NULL,
    name       TEXT NOT NULL,
    at         INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    source     INTEGER NOT NULL REFERENCES sources,
    value      TEXT NOT NULL,
    PRIMARY KEY (node, name, at, message_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    account INTEGER PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE account_members (
    node    INTEGER NOT NULL,
    account INTEGER NOT NULL REFERENCES accounts,
    PRIMARY KEY (node, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE account_traits (
    account    INTEGER NOT NULL REFERENCES accounts,
    name       TEXT NOT NULL,
    at         INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    source     INTEGER NOT NULL REFERENCES sources,
    value      TEXT NOT NULL,
    PRIMARY KEY (account, name, at, message_id)
) STRICT, WITHOUT ROWID;

-- Identifiers that were left out of an event's resolution, and why.
CREATE TABLE refusals (
    refusal    INTEGER PRIMARY KEY,
    namespace  TEXT NOT NULL,
    value      TEXT NOT NULL,
    message_id TEXT NOT NULL,
    reason     TEXT NOT NULL
) STRICT;
CREATE INDEX refusals_by_identifier ON refusals (namespace, value);

-- Aliases whose previousId was taken for a user_id because no event bore it as anonymousId yet.
CREATE TABLE assumed_user_ids (
    value TEXT NOT NULL,
    event INTEGER NOT NULL,
    PRIMARY KEY (value, event)
) STRICT, WITHOUT ROWID;

CREATE TABLE segments (
    segment    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    condition  TEXT NOT NULL,
    defined_at INTEGER NOT NULL
) STRICT;

-- How profiles stand to segments: one row where somebody is a member, or where time alone may change it.
CREATE TABLE standings (
    profile INTEGER NOT NULL,
    segment INTEGER NOT NULL REFERENCES segments ON DELETE CASCADE,
    member  INTEGER NOT NULL CHECK (member IN (0, 1)),
    wake    INTEGER,
    PRIMARY KEY (profile, segment),
    CHECK (member = 1 OR wake IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX standings_members ON standings (segment, profile) WHERE member = 1;
CREATE INDEX standings_wakes ON standings (wake) WHERE wake IS NOT NULL;

-- Refused events with their raw text, each once per source, until they are replayed or purged.
CREATE TABLE quarantine (
    entry  INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    source INTEGER NOT NULL REFERENCES sources,
    digest BLOB NOT NULL,
    reason TEXT NOT NULL,
    raw    BLOB NOT NULL,
    UNIQUE (digest, source)
) STRICT;
