use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What is said of a request when it is done: nothing that a client has written, so nothing of a patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// When its answer was ready.
    pub time: SystemTime,
    /// The method, where it is a usual one.
    pub method: &'static str,
    /// The pattern of the route, such as `/v1/answers/{id}/diagnosis`; `-` where there is no route.
    pub route: String,
    /// The status of the answer.
    pub status: u16,
    /// From the head of the request to the answer.
    pub took: Duration,
    /// Bytes of the request's body that were read.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// What went wrong, of an answer with status 500 whose reason is known.
    pub fault: Option<String>,
}

/// Where audit lines go.
pub type AuditSink = Arc<dyn Fn(&AuditLine) + Send + Sync>;

impl fmt::Display for AuditLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, method, route, status, took, bytes_in, bytes_out, fault } = self;
        let (time, ms) = (humantime::format_rfc3339_millis(*time), took.as_millis());
        write!(formatter, "{time} {method} {route} {status} {ms} ms {bytes_in} in {bytes_out} out")?;
        fault.as_ref().map_or(Ok(()), |fault| write!(formatter, ": {fault}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_time_route_status_duration_and_bytes() {
        let line = AuditLine {
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(86_400),
            method: "POST",
            route: "/v1/predict".into(),
            status: 200,
            took: Duration::from_millis(41),
            bytes_in: 12_345,
            bytes_out: 678,
            fault: None,
        };
        assert_eq!(line.to_string(), "1970-01-02T00:00:00.000Z POST /v1/predict 200 41 ms 12345 in 678 out");
        let failed = AuditLine { status: 500, fault: Some("a logit is no number".into()), ..line };
        assert!(failed.to_string().ends_with("500 41 ms 12345 in 678 out: a logit is no number"));
    }
}
