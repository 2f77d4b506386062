//! Where to connect and as whom: read anew at each connection, so a rotated secret needs no restart. What libpq does
//! and the driver does not is made up for here.

use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};
use tracing::subscriber::{NoSubscriber, with_default};

use crate::{
    config::{DatabaseConfig, DatabaseTarget, Secret, SslMode},
    failure::{Failure, FailureReason},
};

/// What binds every session, whatever the URL says: ours come last, and the last one wins.
///
/// `row_security`: a policy would let rows vanish from a count in silence; so it fails as a missing permission.
const SETTINGS: [(&str, &str); 6] = [
    ("default_transaction_read_only", "on"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("lock_timeout", "500ms"),
    ("max_parallel_workers_per_gather", "0"),
    ("row_security", "off"),
    ("statement_timeout", "5s"),
];

/// So many statements are kept prepared in a session.
const KEPT_STATEMENTS: usize = 16;

/// The options for a connection made now.
pub fn options(config: &DatabaseConfig, application_name: &str) -> Result<PgConnectOptions, Failure> {
    let (mut options, rooted) = given(&config.target)?;
    let host = options.get_host().trim_matches(['[', ']']).to_owned();
    let local = options.get_socket().is_some() || host.starts_with('/');
    options = options.host(&host);
    if local {
        options = options.ssl_mode(PgSslMode::Disable);
    } else if rooted && matches!(options.get_ssl_mode(), PgSslMode::Require) {
        options = options.ssl_mode(PgSslMode::VerifyCa);
    }
    // The driver would log the text of statements.
    let options = options.application_name(application_name).options(SETTINGS).disable_statement_logging();
    // Those of a reading; that of the fingerprint has a new text whenever other relations may have children.
    Ok(options.statement_cache_capacity(KEPT_STATEMENTS))
}

/// The name in pg_stat_activity, cut to what the server keeps.
pub fn application_name(instance_id: &str) -> String {
    let mut name = format!("rowcount/{instance_id}");
    name.truncate(name.floor_char_boundary(63));
    name
}

/// What was configured, and whether it names certificate authorities.
fn given(target: &DatabaseTarget) -> Result<(PgConnectOptions, bool), Failure> {
    match target {
        DatabaseTarget::Url(url) => {
            let url = read(url, "database.url")?;
            let rooted = url.split_once('?').is_some_and(|(_, parameters)| parameters.contains("sslrootcert="));
            // The driver warns of parameters it does not know, with their values: `sslpassword` would be in the log.
            let parsed = with_default(NoSubscriber::new(), || url.parse());
            let options = parsed.map_err(|error: sqlx::Error| unusable(format!("database.url: {error}")))?;
            Ok((options, rooted))
        }
        DatabaseTarget::Parts { host, port, user, password, dbname, sslmode, sslcert, sslkey, sslrootcert } => {
            let password = password.as_ref().map_or(Ok(String::new()), |secret| read(secret, "database.password"))?;
            let mut options =
                PgConnectOptions::new_without_pgpass().port(*port).password(&password).ssl_mode(ssl_mode(*sslmode));
            if !host.is_empty() {
                options = options.host(host);
            }
            if !user.is_empty() {
                options = options.username(user);
            }
            if !dbname.is_empty() {
                options = options.database(dbname);
            }
            if let Some(path) = sslcert {
                options = options.ssl_client_cert(path);
            }
            if let Some(path) = sslkey {
                options = options.ssl_client_key(path);
            }
            if let Some(path) = sslrootcert {
                options = options.ssl_root_cert(path);
            }
            Ok((options, sslrootcert.is_some()))
        }
    }
}

fn ssl_mode(mode: SslMode) -> PgSslMode {
    match mode {
        SslMode::Disable => PgSslMode::Disable,
        SslMode::Allow => PgSslMode::Allow,
        SslMode::Prefer => PgSslMode::Prefer,
        SslMode::Require => PgSslMode::Require,
        SslMode::VerifyCa => PgSslMode::VerifyCa,
        SslMode::VerifyFull => PgSslMode::VerifyFull,
    }
}

fn read(secret: &Secret, setting: &str) -> Result<String, Failure> {
    secret.read().map_err(|error| unusable(format!("cannot read {setting}: {error}")))
}

fn unusable(message: String) -> Failure {
    Failure::new(FailureReason::Connection, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn of_url(url: &str) -> Result<PgConnectOptions, Failure> {
        let target = DatabaseTarget::Url(Secret::Inline(url.to_owned()));
        options(&DatabaseConfig { target, connect_timeout: Duration::from_secs(1), connections: 1 }, "rowcount/a")
    }

    #[test]
    fn require_with_a_root_certificate_verifies_the_chain_as_libpq_does() {
        let mode = |url| of_url(url).unwrap().get_ssl_mode();
        assert!(matches!(mode("postgres://h/d?sslmode=require"), PgSslMode::Require));
        assert!(matches!(mode("postgres://h/d?sslmode=require&sslrootcert=/ca.pem"), PgSslMode::VerifyCa));
        assert!(matches!(mode("postgres://h/d?sslmode=verify-full&sslrootcert=/ca.pem"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgres:///d?host=/run&sslmode=require"), PgSslMode::Disable));
    }

    #[test]
    fn an_address_of_version_six_loses_its_brackets() {
        assert_eq!(of_url("postgres://[::1]:5433/d").unwrap().get_host(), "::1");
    }

    #[test]
    fn our_settings_come_after_those_of_the_url() {
        let options = of_url("postgres://h/d?options=-c%20statement_timeout%3D0&application_name=x").unwrap();
        let text = options.get_options().unwrap();
        assert!(text.starts_with("-c statement_timeout=0 ") && text.ends_with("-c statement_timeout=5s"), "{text}");
        assert_eq!(options.get_application_name(), Some("rowcount/a"));
    }

    #[test]
    fn a_url_that_is_not_understood_is_not_repeated() {
        for url in ["postgres://u:hunter2@h:port/d", "hunter2", "postgres://u:hunter2@h/d?sslmode=odd"] {
            let failure = of_url(url).unwrap_err();
            assert!(failure.message.starts_with("database.url: "), "{failure}");
            assert!(!failure.message.contains("hunter2"), "{failure}");
        }
    }

    #[test]
    fn the_application_name_fits_the_server() {
        assert_eq!(application_name("a"), "rowcount/a");
        assert_eq!(application_name(&"é".repeat(40)).len(), 63);
    }
}
