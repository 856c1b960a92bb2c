use std::net::SocketAddr;
use std::time::Duration;

use crate::hosts::is_host_name;
use crate::{ServeError, Token};

/// The largest body that may be allowed, in bytes: 1 GiB.
const MOST_BODY: usize = 1 << 30;
/// The most threads, waiting requests and connections that may be allowed.
const MOST: usize = 4096;

/// The limits of a server.
///
/// No more than `workers + queue` cases are in memory at a time; what comes beyond is answered with 503 at once. So the bodies
/// take `2 · (workers + queue) · max_body_bytes` at most (the parts of a body are held beside it), and decoded images stay within
/// [`DECODING_BUDGET`](dermafuse_data::DECODING_BUDGET).
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// The largest body of a request, in bytes. Two photos of 12 megapixels take about 10 MB.
    pub max_body_bytes: usize,
    /// Threads that predict, each one case at a time.
    pub workers: usize,
    /// Requests that may wait for a thread.
    pub queue: usize,
    /// From the first byte of a request to its answer.
    pub timeout: Duration,
    /// Connections at a time; further ones wait.
    pub max_connections: usize,
    /// How long Ctrl-C waits for requests that are being answered.
    pub drain: Duration,
    /// What clients must show, if anything. Needed for addresses that other machines can reach.
    pub token: Option<Token>,
    /// Names, besides this machine's own, under which browsers may ask: that of a proxy before the server.
    pub host_names: Vec<String>,
}

impl Default for ServeConfig {
    /// 32 MiB a request, two threads, sixteen that wait, a minute, 256 connections, no token.
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            workers: 2,
            queue: 16,
            timeout: Duration::from_secs(60),
            max_connections: 256,
            drain: Duration::from_secs(30),
            token: None,
            host_names: Vec::new(),
        }
    }
}

impl ServeConfig {
    /// Checks the limits, and that no other machine can ask without a token.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, address: SocketAddr) -> Result<(), ServeError> {
        let range = |what, found: usize, least: usize, most: usize, expected| match (least..=most).contains(&found) {
            true => Ok(()),
            false => Err(ServeError::Setting { what, found: found.to_string(), expected }),
        };
        range("largest body", self.max_body_bytes, 1024, MOST_BODY, "within 1 KiB and 1 GiB")?;
        range("threads", self.workers, 1, MOST, "within 1 and 4096")?;
        range("waiting requests", self.queue, 0, MOST, "within 0 and 4096")?;
        range("connections", self.max_connections, 1, MOST, "within 1 and 4096")?;
        if self.timeout.is_zero() {
            let (what, found) = ("time-out", "0 s".into());
            return Err(ServeError::Setting { what, found, expected: "above 0" });
        }
        if let Some(name) = self.host_names.iter().find(|name| !is_host_name(name)) {
            return Err(ServeError::HostName { name: name.clone() });
        }
        match (&self.token, address.ip().is_loopback()) {
            (None, false) => Err(ServeError::NoToken { address }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_checked_and_other_machines_need_a_token() {
        let config = ServeConfig::default();
        let (here, everywhere) = ("127.0.0.1:0".parse().unwrap(), "0.0.0.0:8080".parse().unwrap());
        config.check(here).unwrap();
        config.check("[::1]:0".parse().unwrap()).unwrap();
        let error = config.check(everywhere).unwrap_err().to_string();
        assert_eq!(error, "0.0.0.0:8080 can be reached from other machines: give a token, or serve on 127.0.0.1");
        let token = Some(Token::new("0123456789abcdef").unwrap());
        ServeConfig { token, ..config.clone() }.check(everywhere).unwrap();
        for wrong in [
            ServeConfig { max_body_bytes: 0, ..config.clone() },
            ServeConfig { workers: 0, ..config.clone() },
            ServeConfig { queue: 5000, ..config.clone() },
            ServeConfig { max_connections: 0, ..config.clone() },
            ServeConfig { timeout: Duration::ZERO, ..config.clone() },
            ServeConfig { host_names: vec!["http://a.b/".into()], ..config.clone() },
        ] {
            assert!(wrong.check(here).is_err(), "{wrong:?}");
        }
    }
}
