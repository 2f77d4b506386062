//! Addresses as people write them. An error never quotes the text: a URL with a password is easily put there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::Url;

use super::RedisAddr;

/// Why a text is no address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Nothing to listen on.
    #[error("want IP:port, localhost:port, or :port for every interface")]
    Listen,
    /// Nothing to connect to.
    #[error("want host:port, without a scheme or a user")]
    Remote,
    /// The same one again; it has no secrets, being a host and a port.
    #[error("{0} is given twice")]
    Twice(RedisAddr),
    /// Nothing to ask over HTTP.
    #[error(
        "want http://host:port or https://host:port, with a path if need be, without a user, a query or a fragment"
    )]
    Http,
}

/// An address to listen on. `:port` is every interface, IPv4 and IPv6; port 0 takes a free one.
pub fn listen(text: &str) -> Result<SocketAddr, Error> {
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    let (host, port) = text.rsplit_once(':').ok_or(Error::Listen)?;
    let ip = match host {
        "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => return Err(Error::Listen),
    };
    Ok(SocketAddr::new(ip, port.parse().map_err(|_| Error::Listen)?))
}

/// Servers to connect to, with commas between them.
pub fn remotes(text: &str) -> Result<Vec<RedisAddr>, Error> {
    let mut addrs = Vec::new();
    for text in text.split(',') {
        let addr = remote(text.trim())?;
        if addrs.contains(&addr) {
            return Err(Error::Twice(addr));
        }
        addrs.push(addr);
    }
    Ok(addrs)
}

/// A server to connect to.
fn remote(text: &str) -> Result<RedisAddr, Error> {
    let (host, port) = text.rsplit_once(':').ok_or(Error::Remote)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or(Error::Remote)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let valid = match bracketed {
        Some(ip) => ip.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    if valid { Ok(RedisAddr { host: bracketed.unwrap_or(host).to_owned(), port }) } else { Err(Error::Remote) }
}

/// The URL of a server that speaks HTTP. Credentials have settings of their own, where they are kept secret.
pub fn http(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|_| Error::Http)?;
    let bare =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    // A text like http://h/@ has no user but looks as if; a URL with one is never shown.
    let valid = matches!(url.scheme(), "http" | "https") && url.has_host() && bare && !text.contains('@');
    if valid { Ok(url) } else { Err(Error::Http) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_every_interface() {
        for (text, want) in [
            (":9464", "[::]:9464"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:50051", "[::1]:50051"),
            ("0.0.0.0:50051", "0.0.0.0:50051"),
        ] {
            assert_eq!(listen(text).map(|addr| addr.to_string()), Ok(want.to_owned()));
        }
        for bad in ["", "50051", "localhost", "example.org:1", "127.0.0.1:65536", "::1:x", "http://127.0.0.1:80"] {
            assert_eq!(listen(bad), Err(Error::Listen), "{bad}");
        }
    }

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for text in ["redis.svc:6379", "[fd00::1]:6379"] {
            assert_eq!(remote(text).map(|addr| addr.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(remote("[fd00::1]:6379").map(|addr| addr.host), Ok("fd00::1".to_owned()));
        for bad in ["", "redis", ":6379", "redis:0", "redis:port", "redis://h:1", "u:p@h:1", "::1:6379", "[redis]:6379"]
        {
            assert_eq!(remote(bad), Err(Error::Remote), "{bad}");
        }
    }

    #[test]
    fn several_servers_have_commas_between_them_and_no_server_comes_twice() {
        let shown = |text| remotes(text).map(|addrs| addrs.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(shown("a:1"), Ok(vec!["a:1".to_owned()]));
        assert_eq!(shown("a:1, [::1]:2,b:1"), Ok(["a:1", "[::1]:2", "b:1"].map(str::to_owned).into()));
        for bad in ["a:1,", ",a:1", "a:1,,b:1", "a:1;b:1", "a:1 b:1"] {
            assert_eq!(shown(bad), Err(Error::Remote), "{bad}");
        }
        assert_eq!(shown("a:1,b:1,a:1").unwrap_err().to_string(), "a:1 is given twice");
    }

    #[test]
    fn a_server_of_http_is_a_url_without_secrets() {
        for (text, want) in [
            ("http://prometheus:9090", "http://prometheus:9090/"),
            ("https://[fd00::1]/prometheus/", "https://[fd00::1]/prometheus/"),
        ] {
            assert_eq!(http(text).map(String::from), Ok(want.to_owned()));
        }
        for bad in [
            "",
            "prometheus:9090",
            "//prometheus",
            "http://",
            "ftp://h",
            "http://u:p@h",
            "http://u@h",
            "http://h:99999",
            "http://h?token=p",
            "http://h#p",
            "http://h/@p",
        ] {
            assert_eq!(http(bad), Err(Error::Http), "{bad}");
        }
    }
}
