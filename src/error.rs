//! What can go wrong, one variant for each thing that a caller can do about it.

use std::path::PathBuf;
use std::{fmt, io};

use rusqlite::types::Type;

/// The result of what this crate does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
///
/// Nothing here says that something is absent (that is `Option`), and no bad event ends up here: a bad event is
/// refused in the [report](crate::IngestReport) of its batch. Personal values are masked in every message.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is open for writing elsewhere, in this process or another. Open it read-only, or try again later.
    #[error("{} is open for writing elsewhere", path.display())]
    Locked {
        /// The database file.
        path: PathBuf,
    },
    /// The file is a database of another application, or no database at all. It was left as it is.
    #[error("{} is not a customer database: {reason}", path.display())]
    NotACdpFile {
        /// The file.
        path: PathBuf,
        /// How that shows.
        reason: String,
    },
    /// The file was written by a newer version of this crate. It was left as it is.
    #[error("{} has format {found}, newer than {supported}, the newest that this version reads", path.display())]
    NewerFormat {
        /// The database file.
        path: PathBuf,
        /// The file's format number.
        found: u32,
        /// The newest format number that this version reads.
        supported: u32,
    },
    /// Another program held the file for seconds; try again later. Or this thread has a batch open, and called for a
    /// second one, or asked a database in memory, which answers between batches only; commit or drop the batch first.
    #[error("the database is held by another program, or by a batch that this thread has open")]
    Busy,
    /// The disk is full, or the file has reached the size set at opening. Nothing of the batch was kept.
    #[error("the disk is full, or the file has reached its largest size: nothing of this batch was kept")]
    Full,
    /// An earlier call of the batch failed, so that all of it was taken back.
    #[error("an earlier call of this batch failed, and the batch was taken back")]
    Abandoned,
    /// The handle was opened read-only.
    #[error("the file was opened read-only")]
    ReadOnly,
    /// The file is damaged. `Cdp::check` lists what is wrong with it.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// A definition (of a segment, or rules) makes no sense as it stands.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// No segment has that name.
    #[error("no segment is named {0:?}")]
    UnknownSegment(String),
    /// A text names neither an identifier (`namespace:value`) nor a profile.
    #[error(
        "not an identifier and not a profile id: {0:?}, expected namespace:value (\"user_id:u1\") or a UUID"
    )]
    NotAnId(String),
    /// The caller's progress callback asked to stop. What was committed before stays.
    #[error("stopped by the caller")]
    Cancelled,
    /// A file to be imported could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another failure of the storage below.
    #[error("storage: {0}")]
    Storage(#[source] StorageError),
}

impl Error {
    /// A short, stable word for the kind of error, for programs in other languages.
    ///
    /// ```
    /// use customerdb::Cdp;
    ///
    /// let error = Cdp::in_memory()?.members("nobody").unwrap_err();
    /// assert_eq!(error.kind(), "unknown_segment");
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "locked",
            Self::NotACdpFile { .. } => "not_a_cdp_file",
            Self::NewerFormat { .. } => "newer_format",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Abandoned => "abandoned",
            Self::ReadOnly => "read_only",
            Self::Damaged(_) => "damaged",
            Self::Definition(_) => "definition",
            Self::UnknownSegment(_) => "unknown_segment",
            Self::NotAnId(_) => "not_an_id",
            Self::Cancelled => "cancelled",
            Self::Io { .. } => "io",
            Self::Storage(_) => "storage",
        }
    }
}

/// A failure of SQLite, kept opaque so that its types are no part of this crate's interface.
pub struct StorageError(rusqlite::Error);

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Error {
    /// Sorts a failure of SQLite into the thing that a caller can do about it.
    pub(crate) fn from_sqlite(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::OperationInterrupted) => Self::Cancelled,
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            _ => match error {
                // In our own words, and not as a value that could not be converted.
                rusqlite::Error::FromSqlConversionFailure(_, Type::Null, what) => {
                    Self::Damaged(what.to_string())
                }
                rusqlite::Error::FromSqlConversionFailure(..) => Self::Damaged(error.to_string()),
                error => Self::Storage(StorageError(error)),
            },
        }
    }
}

/// Why a definition (a condition, or rules) makes no sense, and where.
///
/// ```
/// use customerdb::Condition;
///
/// let error = Condition::from_json(r#"{"all":[{"event":"View","count":{"gtee":3}}]}"#).unwrap_err();
/// assert_eq!(error.path(), "all[0].count");
/// assert!(error.to_string().starts_with("all[0].count: unknown operator \"gtee\", expected one of"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionError {
    path: String,
    reason: String,
}

impl DefinitionError {
    pub(crate) fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }

    /// Where in the definition, as dotted members and indexes: `all[1].count`. Empty for the whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong there.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for DefinitionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_in_our_own_words() {
        let failure = |kind| {
            let what = "the block 7 of columns contradicts its checksum".into();
            Error::from_sqlite(rusqlite::Error::FromSqlConversionFailure(0, kind, what))
        };
        let Error::Damaged(told) = failure(Type::Null) else { panic!("not told as damage") };
        assert_eq!(told, "the block 7 of columns contradicts its checksum");
        assert!(matches!(failure(Type::Text), Error::Damaged(told) if told.contains("index: 0")));
    }
}
