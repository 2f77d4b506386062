//! The Prometheus that request rates come from.

use std::{path::Path, time::Duration};

use rowcount::config::{PrometheusConfig, Secret};

use super::Given;

/// `rates.prometheus` of a file, and what is warned of, with the directory of the file left out.
fn loaded(section: &str) -> (Option<PrometheusConfig>, Vec<String>) {
    let file = format!("redis: {{cache: {{addr: \"redis:6379\"}}}}\nrates:\n  prometheus: {section}\n");
    let given = Given::minimum().file(&file);
    let loaded = given.loaded();
    let dir = format!("{}/", given.dir.path().display());
    (loaded.config.rates.prometheus, loaded.warnings.iter().map(|warning| warning.replace(&dir, "")).collect())
}

#[test]
fn a_prometheus_has_a_url_and_what_is_set_beside_it() {
    let (prometheus, warnings) = loaded(
        "{url: \"https://p/mimir\", username: u, passwordfile: f, tenant: t, timeout: 3s, tls: {ca: a, certificate: c, \
         key: k}}",
    );
    let prometheus = prometheus.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!((prometheus.url.as_str(), prometheus.timeout), ("https://p/mimir", Duration::from_secs(3)));
    assert_eq!(prometheus.password, Some(Secret::File("f".into())));
    assert_eq!(prometheus.tls.key.as_deref(), Some(Path::new("k")));
}

#[test]
fn one_that_is_given_by_its_url_alone_has_the_defaults_of_the_file() {
    let of_file = loaded("{url: \"http://p:9090\"}").0.unwrap();
    let by_url = PrometheusConfig::at("http://p:9090").unwrap();
    assert_eq!(format!("{of_file:?}"), format!("{by_url:?}"));
}

#[test]
fn what_goes_nowhere_is_warned_of() {
    let (prometheus, warnings) = loaded("{tokenfile: a, tenant: b, tls: {ca: c, insecure: true}}");
    assert!(prometheus.is_none());
    let want = "no rates.prometheus.url: rates.prometheus.tokenfile (file rowcount.yaml:3), rates.prometheus.tenant (file \
                rowcount.yaml:3), rates.prometheus.tls.ca (file rowcount.yaml:3), rates.prometheus.tls.insecure (file \
                rowcount.yaml:3) are ignored";
    assert_eq!(warnings, [want]);
    let (_, warnings) = loaded("{url: \"http://p\", tls: {ca: a}}");
    assert_eq!(warnings, ["rates.prometheus.url is http: rates.prometheus.tls.ca (file rowcount.yaml:3) is ignored"]);
    let (_, warnings) = loaded("{timeout: 1m, tls: {insecure: false}}");
    assert_eq!(warnings, Vec::<String>::new(), "what means nothing is nothing to be warned of");
}
