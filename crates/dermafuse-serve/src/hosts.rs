use std::net::SocketAddr;

/// The names under which a server may be asked. A page of another site that has its own name lead to this machine (DNS rebinding)
/// comes with that name, and is refused.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    /// With the port of the server, or without one where it is the scheme's own.
    own: Vec<String>,
    port: u16,
    /// With any port: a proxy has its own.
    further: Vec<String>,
}

impl Hosts {
    /// The names of this machine at an address, and further ones.
    pub(crate) fn new(address: SocketAddr, further: &[String]) -> Self {
        let mut own = vec!["localhost".to_owned(), "127.0.0.1".into(), "[::1]".into()];
        // Asked by its address, the server is reached from elsewhere, and clients show a token.
        if !address.ip().is_unspecified() {
            own.push(match address {
                SocketAddr::V4(address) => address.ip().to_string(),
                SocketAddr::V6(address) => format!("[{}]", address.ip()),
            });
        }
        Self { own, port: address.port(), further: further.iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// Whether a `Host` header names this server.
    pub(crate) fn allow(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let (name, port) = match host.rsplit_once(':') {
            // The colons of an address of version 6 are in brackets.
            Some((name, port)) if !port.ends_with(']') => match port.parse::<u16>() {
                Ok(port) => (name, port),
                Err(_) => return false,
            },
            _ => (host.as_str(), 80),
        };
        (port == self.port && self.own.iter().any(|own| own == name)) || self.further.iter().any(|own| own == name)
    }

    /// Whether an `Origin` header is that of this server's own page.
    pub(crate) fn allow_origin(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let (host, encrypted) = match (origin.strip_prefix("http://"), origin.strip_prefix("https://")) {
            (Some(host), _) => (host, false),
            (_, Some(host)) => (host, true),
            _ => return false,
        };
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        // Only a proxy encrypts.
        match encrypted {
            true => self.further.iter().any(|own| own == name || own == host),
            false => self.allow(host),
        }
    }
}

/// Whether a text is a name without scheme, port and path.
pub(crate) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        let letters = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'-' || letter == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(letters)
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_and_stated_ones_are_allowed() {
        let hosts = Hosts::new("127.0.0.1:8377".parse().unwrap(), &["Derm.Clinic.example".into()]);
        for allowed in
            ["127.0.0.1:8377", "LOCALHOST:8377", "[::1]:8377", "derm.clinic.example", "derm.clinic.example:443"]
        {
            assert!(hosts.allow(allowed), "{allowed}");
        }
        for refused in [
            "",
            "127.0.0.1",
            "127.0.0.1:80",
            "evil.example:8377",
            "127.0.0.1.evil.example:8377",
            "localhost:8377x",
            "localhost:",
            "[::1]",
            "[::1",
            "0.0.0.0:8377",
        ] {
            assert!(!hosts.allow(refused), "{refused}");
        }
        let port_80 = Hosts::new("192.0.2.7:80".parse().unwrap(), &[]);
        assert!(port_80.allow("192.0.2.7") && port_80.allow("localhost") && !port_80.allow("localhost:81"));
        let everywhere = Hosts::new("0.0.0.0:80".parse().unwrap(), &[]);
        assert!(!everywhere.allow("0.0.0.0") && everywhere.allow("127.0.0.1"));
    }

    #[test]
    fn only_the_own_page_is_an_origin() {
        let hosts = Hosts::new("127.0.0.1:8377".parse().unwrap(), &["derm.clinic.example".into()]);
        for allowed in ["http://127.0.0.1:8377", "http://localhost:8377", "https://derm.clinic.example"] {
            assert!(hosts.allow_origin(allowed), "{allowed}");
        }
        for refused in ["null", "", "https://127.0.0.1:8377", "http://evil.example", "http://localhost:1", "file://"] {
            assert!(!hosts.allow_origin(refused), "{refused}");
        }
    }

    #[test]
    fn a_host_name_has_labels_alone() {
        assert!(is_host_name("derm.clinic.example") && is_host_name("localhost"));
        assert!(!is_host_name("a:80") && !is_host_name("http://a") && !is_host_name("a/") && !is_host_name("a..b"));
    }
}
