-- Format 1. Times are microseconds since 1970-01-01T00:00:00Z. Everything that starts with "node" is an
-- identifier's number, everything that starts with "profile" a profile's.
--
-- Where rows come by the thousand (identifiers, merges, links, traits, the journal, standings) no REFERENCES stands: looking up what a number
-- refers to took a fifth of the time that writing the row does. That it is there is for the check of the file to say.

-- What the application has set: the rules of identity (JSON), and counters that readers compare.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- The key of all keyed hashes in this file, unless the application keeps one of its own: then the hash by which that is
-- known again stands here instead, as hash_key_mark.
INSERT INTO settings VALUES ('hash_key', randomblob(32));

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

CREATE TABLE profiles (
    profile     INTEGER PRIMARY KEY,
    id          BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    founder     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

-- A join is one row here, and rewrites neither a profile nor an identifier: whose an identifier is, one learns by following
-- merged_into from the profile that it was given. Rows are only added, numbered from 0; a column of profiles would cost nearly
-- every join a page.
CREATE TABLE merges (
    merge       INTEGER PRIMARY KEY,
    profile     INTEGER NOT NULL,
    merged_into INTEGER NOT NULL CHECK (merged_into < profile)
) STRICT;

-- Numbered in order of arrival. No index on the value: the application keeps one in memory, and a B-tree with
-- random keys would cost every new identifier a page. An identifier without a profile was refused wherever it
-- came, or is blocked by a later rule. One without a value (empty) was let go of: erased, or borne by no event any more.
-- Its number stays, for numbers are dense and never used again.
CREATE TABLE identifiers (
    node      INTEGER PRIMARY KEY,
    namespace INTEGER NOT NULL,
    value     TEXT NOT NULL,
    profile   INTEGER
) STRICT;

-- The day (since 1970-01-01) of the earliest event that bears an identifier: noted while a limit is for periods.
CREATE TABLE first_days (
    node INTEGER PRIMARY KEY,
    day  INTEGER NOT NULL
) STRICT;

-- Identifiers of the namespace anonymous_id that no event has borne as anonymousId: other members of events bear them, or
-- a hand named them. An alias does not mean them by its previousId.
CREATE TABLE unborne (
    node INTEGER PRIMARY KEY
) STRICT;

-- The evidence: which two identifiers (a < b) events of which source bore together.
CREATE TABLE links (
    a          INTEGER NOT NULL,
    b          INTEGER NOT NULL,
    source     INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    PRIMARY KEY (a, b, source),
    CHECK (a < b)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_b ON links (b);

-- Evidence that has come since, in order of arrival: it is brought into links when there is much of it. To write each piece
-- to its place at once would cost nearly each a page. The numbers begin anew then, which the counter links in settings says.
CREATE TABLE fresh_links (
    number     INTEGER PRIMARY KEY,
    a          INTEGER NOT NULL,
    b          INTEGER NOT NULL,
    source     INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    CHECK (a < b)
) STRICT;

-- What was decided by hand of two identifiers (a < b), or of all evidence from a source. Together with the log and the
-- rules this is what people are made of.
CREATE TABLE decisions (
    decision INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN ('link', 'force', 'never', 'cut', 'apart')),
    a        INTEGER,
    b        INTEGER,
    source   TEXT UNIQUE,
    -- Of a pair that the cut of a source parted: that decision.
    cut      INTEGER,
    CHECK ((a < b AND source IS NULL) OR (a IS NULL AND b IS NULL AND kind = 'cut' AND source IS NOT NULL))
) STRICT;
CREATE INDEX decisions_by_pair ON decisions (a, b);

-- Joins and splits of profiles, in the order in which they were committed.
CREATE TABLE journal (
    entry      INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    change     TEXT NOT NULL CHECK (change IN ('joined', 'split')),
    profile    INTEGER NOT NULL,
    other      INTEGER NOT NULL,
    cause      TEXT NOT NULL,
    message_id TEXT
) STRICT;

CREATE TABLE event_names (
    name INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
) STRICT;

-- The log: accepted events as they were given, in order of arrival, a few in a row. `first` is the number of the first
-- of them, and `span` how many numbers the row covers. docs/format.md says what is in the bytes here and below. `crc` is
-- the CRC-32 of the numbers that belong to the bytes, and of the bytes.
CREATE TABLE log (
    first INTEGER PRIMARY KEY,
    span  INTEGER NOT NULL,
    crc   INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

-- What the compression of the log begins with: one row at most. Only words that many different people have in common are in it.
CREATE TABLE dictionaries (
    dictionary INTEGER PRIMARY KEY CHECK (dictionary = 1),
    crc        INTEGER NOT NULL,
    bytes      BLOB NOT NULL
) STRICT;

-- Events that belong to another node than the one that the log says, or to none: since a rule changed, or a decision.
CREATE TABLE moved (
    event  INTEGER PRIMARY KEY,
    node   INTEGER,
    was    INTEGER,
    at     INTEGER NOT NULL,
    name   INTEGER NOT NULL REFERENCES event_names,
    source INTEGER NOT NULL REFERENCES sources
) STRICT;

-- The order that sealed events are in: of 65,536 ranks in a row the nodes. A node that is in none has its number as its rank.
CREATE TABLE ranks (
    chunk INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    crc   INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

-- What the log says, sealed so that it is found quickly: of each range of numbers the columns of its events, by rank, and
-- the hashes of their message ids. Numbers of seals and blocks are never used again.
CREATE TABLE seals (
    seal    INTEGER PRIMARY KEY AUTOINCREMENT,
    level   INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    until   INTEGER NOT NULL,
    buckets INTEGER NOT NULL,
    crc     INTEGER NOT NULL,
    bloom   BLOB NOT NULL
) STRICT;

CREATE TABLE blocks (
    block      INTEGER PRIMARY KEY AUTOINCREMENT,
    seal       INTEGER NOT NULL,
    first_rank INTEGER NOT NULL,
    last_rank  INTEGER NOT NULL,
    first_at   INTEGER NOT NULL,
    last_at    INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    crc        INTEGER NOT NULL,
    bytes      BLOB NOT NULL
) STRICT;
-- What is known of blocks without reading them lies together here.
CREATE INDEX blocks_by_seal ON blocks (seal, first_rank, last_rank, first_at, last_at, count);

-- `bucket` is the number of the seal times 2^20, plus that of the bucket.
CREATE TABLE message_ids (
    bucket INTEGER PRIMARY KEY,
    crc    INTEGER NOT NULL,
    bytes  BLOB NOT NULL
) STRICT;

-- Message ids of events that retention rules dropped, as keyed hashes (the first 16 bytes): they stay known, so that an
-- import that is done again does not bring the events back.
CREATE TABLE dropped_ids (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 16)
) STRICT, WITHOUT ROWID;

-- Identifiers of people who were erased, as keyed hashes, since when.
CREATE TABLE suppressed (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Everything below is made from the log, and is remade from it when rules change.

-- What an event asserted of the person who owns the node: the traits that it names, as an object (JSON). Of what was said of
-- a trait the latest by (at, message_id) stands. In the order of events, so that what comes goes to the end.
CREATE TABLE traits (
    event      INTEGER PRIMARY KEY,
    node       INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    source     INTEGER NOT NULL,
    said       TEXT NOT NULL
) STRICT;

-- Which events asserted something of whom, of those before the one that traits_home in settings says: the later ones wait to be
-- brought here many at once. To bring each to its place when it comes would cost nearly each a page.
CREATE TABLE traits_by_node (
    node  INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    event INTEGER NOT NULL,
    PRIMARY KEY (node, at, event)
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    account INTEGER PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE
) STRICT;

-- Which group events made the person who owns the node a member of the account.
CREATE TABLE account_members (
    node       INTEGER NOT NULL,
    account    INTEGER NOT NULL REFERENCES accounts,
    message_id TEXT NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (node, account, message_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE account_traits (
    event      INTEGER PRIMARY KEY,
    account    INTEGER NOT NULL REFERENCES accounts,
    at         INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    source     INTEGER NOT NULL REFERENCES sources,
    said       TEXT NOT NULL
) STRICT;
CREATE INDEX account_traits_by_account ON account_traits (account);

-- Identifiers that were left out of an event's resolution, or of a link by hand, and why. The owner is whose the event
-- is. Namespace and value are kept only of what got no number: of values that cannot be identifiers.
CREATE TABLE refusals (
    refusal    INTEGER PRIMARY KEY,
    owner      INTEGER NOT NULL,
    node       INTEGER,
    namespace  TEXT,
    value      TEXT,
    at         INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    rule       TEXT NOT NULL,
    reason     TEXT NOT NULL,
    CHECK ((node IS NULL) = (namespace IS NOT NULL AND value IS NOT NULL))
) STRICT;
CREATE INDEX refusals_by_node ON refusals (node, owner) WHERE node IS NOT NULL;
CREATE INDEX refusals_by_owner ON refusals (owner, node);
CREATE INDEX refusals_by_value ON refusals (namespace, value) WHERE node IS NULL;

-- Devices that belong to nobody, because several users share them and the rules say so.
CREATE TABLE shared_devices (
    node INTEGER PRIMARY KEY
) STRICT;

-- Where the rules give a shared device's anonymous events to whom was last seen on it: who was seen on which device
-- when, and which anonymous events the device has.
CREATE TABLE sightings (
    device     INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    node       INTEGER NOT NULL,
    PRIMARY KEY (device, at, message_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE anonymous_events (
    device     INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    event      INTEGER NOT NULL,
    PRIMARY KEY (device, at, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX anonymous_events_by_event ON anonymous_events (event);

-- Aliases whose previousId was taken for a user_id because no event bore it as anonymousId yet.
CREATE TABLE assumed_user_ids (
    value TEXT NOT NULL,
    event INTEGER NOT NULL,
    PRIMARY KEY (value, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX assumed_user_ids_by_event ON assumed_user_ids (event);

-- What is worked out of the log by definitions of the application, as JSON: computed traits, rules for tags, which of
-- several values of a trait wins, and purposes of consent. And how long events are kept.
CREATE TABLE definitions (
    kind       TEXT NOT NULL CHECK (kind IN ('trait', 'tag', 'policy', 'purpose', 'retention')),
    name       TEXT NOT NULL,
    definition TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- A segment without a condition is a list that is kept by hand. One that is not live has no standings.
CREATE TABLE segments (
    segment    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    condition  TEXT,
    live       INTEGER NOT NULL CHECK (live IN (0, 1)),
    defined_at INTEGER NOT NULL,
    CHECK (live = 1 OR condition IS NOT NULL)
) STRICT;

-- Lists and tags by hand name identifiers, so that they stay with whoever holds those through joins and splits. What was taken
-- back has the time of that in "until", and says who was on a list, or carried a tag, as of an instant.
CREATE TABLE list_members (
    segment INTEGER NOT NULL REFERENCES segments ON DELETE CASCADE,
    node    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    until   INTEGER CHECK (until > at),
    PRIMARY KEY (segment, node, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX list_members_by_node ON list_members (node);

CREATE TABLE given_tags (
    node    INTEGER NOT NULL,
    tag     TEXT NOT NULL,
    at      INTEGER NOT NULL,
    expires INTEGER,
    until   INTEGER CHECK (until > at),
    PRIMARY KEY (node, tag, at)
) STRICT, WITHOUT ROWID;

-- Who entered and left which live segments, when, and why (of consent, "trait" names the purpose). A row is all segments that a
-- profile entered, or left, at once and for one reason: a JSON array of names, each an entry of the journal. The number of the row is
-- the cursor of the last of them, and those before it count down. The latest entry of a profile and a segment says whether it is a
-- member; entries outlive the segment, which they therefore name.
CREATE TABLE segment_changes (
    change     INTEGER PRIMARY KEY AUTOINCREMENT,
    profile    INTEGER NOT NULL,
    entered    INTEGER NOT NULL CHECK (entered IN (0, 1)),
    at         INTEGER NOT NULL,
    cause      TEXT NOT NULL,
    message_id TEXT,
    trait      TEXT,
    segments   TEXT NOT NULL
) STRICT;
CREATE INDEX segment_changes_by_profile ON segment_changes (profile);

-- Who is a member of which segment. Whoever removes a segment removes its rows: with a reference, SQLite would look it up for each
-- row, and for each segment look through all.
CREATE TABLE members (
    segment INTEGER NOT NULL,
    profile INTEGER NOT NULL,
    PRIMARY KEY (segment, profile)
) STRICT, WITHOUT ROWID;

-- How a profile stands to all segments of which it is a member, or may become one by time alone, packed; and an instant before which
-- time alone changes none of that, if there is one.
CREATE TABLE standings (
    profile INTEGER PRIMARY KEY,
    wake    INTEGER,
    stands  BLOB NOT NULL
) STRICT;
CREATE INDEX standings_wakes ON standings (wake) WHERE wake IS NOT NULL;

-- What was decided about purposes. Rows are added and never changed, and go only with an erasure; each is of one identifier,
-- so whoever holds that has decided so, through joins and splits. Of decisions that an event bears, "message_id" names it, whether it was kept or not.
CREATE TABLE consents (
    consent        INTEGER PRIMARY KEY AUTOINCREMENT,
    node           INTEGER NOT NULL,
    purpose        TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('granted', 'denied', 'withdrawn')),
    at             INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL,
    source         TEXT NOT NULL,
    policy_version TEXT,
    evidence       TEXT,
    separate       INTEGER NOT NULL CHECK (separate IN (0, 1)),
    message_id     TEXT
) STRICT;
CREATE INDEX consents_by_node ON consents (node);
CREATE INDEX consents_refused ON consents (purpose, node) WHERE state <> 'granted';
CREATE UNIQUE INDEX consents_by_event ON consents (message_id, purpose) WHERE message_id IS NOT NULL;

-- Values of traits that were set right by hand: the latest of a person's identifiers stands, whatever events assert.
CREATE TABLE pins (
    pin   INTEGER PRIMARY KEY AUTOINCREMENT,
    node  INTEGER NOT NULL,
    name  TEXT NOT NULL,
    at    INTEGER NOT NULL,
    value TEXT NOT NULL
) STRICT;
CREATE INDEX pins_by_node ON pins (node, name);
CREATE INDEX pins_by_name ON pins (name);

-- What was done that one may have to account for. Each row's hash is made of it and of the hash before (docs/format.md says
-- how), so that none can be changed, removed or put between without a trace. No personal value: people are named by keyed
-- hashes of their identifiers.
CREATE TABLE audit (
    entry   INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    action  TEXT NOT NULL,
    details TEXT NOT NULL,
    hash    BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

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

-- Packed copies, of a thousand rows each, from which a file is opened quickly: `identifiers` without and with whose they
-- are, and `merges`. They are remade in the transaction that changes their rows. `crc` is the CRC-32
-- of the table's name, the chunk's number (4 bytes, little-endian) and the bytes. docs/format.md says what is in them.
CREATE TABLE packed_identifiers (
    chunk INTEGER PRIMARY KEY,
    crc   INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE packed_holders (
    chunk INTEGER PRIMARY KEY,
    crc   INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE packed_merges (
    chunk INTEGER PRIMARY KEY,
    crc   INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
