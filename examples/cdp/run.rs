//! The face for programs: a request a line in, an answer a line out.

use std::io::{self, BufRead, Write};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::command::{Command, Front};
use crate::failure::Failure;

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Reply {
    Ok(Box<RawValue>),
    Error(Failure),
}

/// Answers each line of `requests`, in order, until they end. A request that fails is answered like any other.
pub(crate) fn run(front: &Front, mut requests: impl BufRead, mut answers: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if requests.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let request = line.trim_ascii();
        if request.is_empty() {
            continue;
        }
        let reply = answer(front, request).map_or_else(Reply::Error, Reply::Ok);
        let mut reply = serde_json::to_string(&reply)?;
        reply.push('\n');
        answers.write_all(reply.as_bytes())?;
        answers.flush()?;
    }
}

fn answer(front: &Front, request: &[u8]) -> Result<Box<RawValue>, Failure> {
    let request =
        std::str::from_utf8(request).map_err(|error| Failure::bad_request(format!("not JSON: {error}")))?;
    let answer = Command::read(request)?.perform(front)?;
    let json = answer.to_json().and_then(RawValue::from_string);
    json.map_err(|error| Failure { kind: "answer", message: error.to_string() })
}
