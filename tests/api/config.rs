//! From flags, environment and files to a configuration, or to every problem at once.

use std::{fs, path::Path, time::Duration};

use rowcount::{
    config::{
        self, COST_KEYS, DatabaseTarget, Loaded, Origin, Problems, QUERY_KEYS, RedisAddr, RedisServers, SETTINGS,
        Secret, Sentinels, ServeArgs, TOKEN_KEYS,
    },
    query::{Method, Query, Source},
    rates::operation::Operation,
};

mod rates;
mod refusals;
mod surface;

/// What a configuration needs at least.
const MINIMUM: [(&str, &str); 3] = [
    ("ROWCOUNT_DATABASE_HOST", "db"),
    ("ROWCOUNT_DATABASE_USER", "rowcount"),
    ("ROWCOUNT_DATABASE_DBNAME", "registry"),
];

/// A configuration in the making: files in a directory of its own, so that messages can be compared without its path.
struct Given {
    dir: tempfile::TempDir,
    args: ServeArgs,
    env: Vec<(String, String)>,
}

impl Given {
    fn nothing() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        Self { dir, args: ServeArgs::default(), env: Vec::new() }
    }

    fn minimum() -> Self {
        Self::nothing().env(&MINIMUM)
    }

    fn file(mut self, text: &str) -> Self {
        let path = self.dir.path().join("rowcount.yaml");
        fs::write(&path, text).expect("a temporary file can be written");
        self.args.config = Some(path);
        self
    }

    fn registry(mut self, text: &str) -> Self {
        let path = self.dir.path().join("config.yml");
        fs::write(&path, text).expect("a temporary file can be written");
        self.args.registry_config = Some(path);
        self
    }

    fn env(mut self, variables: &[(&str, &str)]) -> Self {
        self.env.extend(variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
        self
    }

    fn load(&self) -> Result<Loaded, Problems> {
        config::load(&self.args, self.env.iter().cloned())
    }

    fn loaded(&self) -> Loaded {
        self.load().unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The problems, a line each, with the directory left out.
    fn refused(&self) -> Vec<String> {
        let problems = self.load().expect_err("the configuration must be refused").to_string();
        let problems = problems.replace(&format!("{}/", self.dir.path().display()), "");
        let mut lines = problems.lines().map(str::trim_start).map(str::to_owned);
        assert_eq!(lines.next().as_deref(), Some("wrong configuration:"));
        lines.collect()
    }
}

fn servers(loaded: &Loaded) -> RedisServers {
    loaded.config.redis.clone().unwrap().servers
}

fn redis(host: &str) -> RedisAddr {
    RedisAddr { host: host.to_owned(), port: 6379 }
}

fn query<'a>(loaded: &'a Loaded, name: &str) -> &'a Query {
    let query = loaded.config.collection.queries.iter().find(|query| query.name.as_str() == name);
    query.unwrap_or_else(|| panic!("{name} is off"))
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let loaded = Given::minimum().loaded();
    let config = &loaded.config;
    assert_eq!(config.cluster, "default");
    assert_eq!(config.grpc.addr.to_string(), "127.0.0.1:50051");
    assert_eq!(config.http.addr.to_string(), "127.0.0.1:9464");
    assert_eq!(config.lease.duration, Duration::from_secs(30));
    assert_eq!(config.lease.quarantine, Duration::from_millis(31_500), "the duration and its margin");
    assert_eq!(config.collection.queries.len(), 19);
    assert!(config.redis.is_none());
    let warning = "no redis.cache.addr: the lease and the board live in memory: one instance only";
    assert_eq!(loaded.warnings, [warning]);
}

#[test]
fn an_instance_names_itself_anew_at_each_start() {
    let [first, second] = [(); 2].map(|()| Given::minimum().loaded().config.instance_id);
    assert!(first.contains('-') && first.len() <= 128, "{first}");
    assert_ne!(first, second);
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_registry() {
    let registry =
        "redis:\n  cache:\n    addr: registry:6379\ndatabase:\n  host: registry\n  port: 1\nlog:\n  level: warn\n";
    let mut given = Given::nothing()
        .registry(registry)
        .file("grpc:\n  addr: 127.0.0.1:1\nhttp:\n  addr: 127.0.0.1:2\ndatabase: {host: file, user: u, dbname: d}\n")
        .env(&[("ROWCOUNT_GRPC_ADDR", "127.0.0.1:3"), ("ROWCOUNT_HTTP_ADDR", "127.0.0.1:4")])
        .env(&[("REGISTRY_DATABASE_HOST", "theirs"), ("REGISTRY_DATABASE_PORT", "2")]);
    given.args.grpc_addr = Some("127.0.0.1:5".to_owned());
    let loaded = given.loaded();
    let file = |name: &str| given.dir.path().join(name);
    for (path, shown, origin) in [
        ("grpc.addr", "127.0.0.1:5", Origin::Flag("--grpc-addr")),
        ("http.addr", "127.0.0.1:4", Origin::Environment("ROWCOUNT_HTTP_ADDR".to_owned())),
        ("database.host", "file", Origin::File { path: file("rowcount.yaml"), line: 5 }),
        ("database.port", "2", Origin::Environment("REGISTRY_DATABASE_PORT".to_owned())),
        ("log.level", "warn", Origin::RegistryFile { path: file("config.yml"), line: 8 }),
        ("log.formatter", "json", Origin::Default),
    ] {
        let effective = loaded.effective.iter().find(|setting| setting.path == path).unwrap();
        assert_eq!((effective.shown.as_str(), &effective.origin), (shown, &origin), "{path}");
    }
    assert_eq!(loaded.config.grpc.addr.port(), 5);
    assert_eq!(servers(&loaded), RedisServers::Single(redis("registry")));
}

#[test]
fn a_configuration_without_a_database_is_refused_unless_it_never_counts() {
    let want = "database.host: is not set; set it, or database.url, or database.metrics.enabled: false on an instance \
                that never counts";
    assert_eq!(Given::nothing().refused(), [want]);
    let want = [
        "database.user: is not set; set it to the role to log in as",
        "database.dbname: is not set; set it to the registry's metadata database",
    ];
    assert_eq!(Given::nothing().file("database: {host: db}").refused(), want);
    let loaded = Given::nothing().file("database: {metrics: {enabled: false}}").loaded();
    assert!(!loaded.config.lease.enabled);
}

#[test]
fn a_url_and_its_parts_are_refused_together_whatever_layer_they_come_from() {
    let url = ("ROWCOUNT_DATABASE_URL", "postgres://u:hunter2@h/d");
    let given = Given::nothing().env(&[url]);
    assert!(matches!(given.loaded().config.database.target, DatabaseTarget::Url(Secret::Inline(_))));
    let given = Given::nothing().env(&[url]).registry("database: {host: db}\n").file("database: {port: 5432}\n");
    let want = "database.url: give database.url (environment ROWCOUNT_DATABASE_URL) or the parts, not both; set are \
                database.host (registry file config.yml:1), database.port (file rowcount.yaml:1)";
    assert_eq!(given.refused(), [want]);
    let given = Given::nothing().env(&[url]).registry("database: {host: db}\n").file("database: {host: \"\"}\n");
    assert!(given.load().is_ok(), "an empty text takes back what a lower layer gave");
}

#[test]
fn every_problem_is_listed_at_once() {
    let given = Given::nothing()
        .file("grpc:\n  adr: a\ndatabase:\n  metrics: {interval: 5, leaseduration: 1s}\nqueries: {a: {}}\n")
        .env(&[("ROWCOUNT_CLUSTER", "")]);
    let want = [
        "grpc.adr: no such setting; the nearest is grpc.addr (file rowcount.yaml:2)",
        "cluster: \"\" is not a fleet's name; want letters, digits, _, . and - (environment ROWCOUNT_CLUSTER)",
        "database.metrics.interval: 5 has no unit; write 5s for seconds, or use ms, m or h (file rowcount.yaml:4)",
        "queries.a: is no built-in and has neither sql nor table; give one of them (file rowcount.yaml:5)",
        "database.host: is not set; set it, or database.url, or database.metrics.enabled: false on an instance that \
         never counts",
    ];
    assert_eq!(given.refused(), want);
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let mut given = Given::minimum();
    given.args.config = Some(given.dir.path().join("none.yaml"));
    given.args.registry_config = Some(given.dir.path().join("none.yml"));
    let want = [
        "--registry-config: cannot read none.yml: No such file or directory (os error 2)",
        "--config: cannot read none.yaml: No such file or directory (os error 2)",
    ];
    assert_eq!(given.refused(), want);
}

#[test]
fn a_variable_that_names_no_setting_is_warned_of() {
    let loaded = Given::minimum()
        .env(&[("ROWCOUNT_GRPC_SERVICE_HOST", "10.0.0.1"), ("ROWCOUNT_SERVER", "http://a"), ("HOME", "/")])
        .env(&[("ROWCOUNT_REDIS_CACHE_ADDR", "redis:6379"), ("ROWCOUNT_QUERIES_TAGS_PORT", "tcp://10.0.0.1")])
        .loaded();
    let want = [
        "ROWCOUNT_GRPC_SERVICE_HOST names no setting and is ignored; the nearest is ROWCOUNT_GRPC_REFLECTION",
        "ROWCOUNT_QUERIES_TAGS_PORT names no setting and is ignored; the nearest is ROWCOUNT_DATABASE_PORT",
    ];
    assert_eq!(loaded.warnings, want);
}

#[test]
fn no_color_takes_the_colour_away() {
    for (text, colour) in [("", true), ("1", false), ("0", false)] {
        assert_eq!(Given::minimum().env(&[("NO_COLOR", text)]).loaded().colour, colour, "{text:?}");
    }
    assert!(Given::minimum().loaded().colour);
}

#[test]
fn the_environment_reaches_lists_and_queries() {
    let given = Given::minimum().env(&[
        ("ROWCOUNT_QUERIES_OLD_TAGS_SQL", "SELECT count(*) FROM tags;"),
        ("ROWCOUNT_QUERIES_OLD_TAGS_INTERVAL", "1m"),
        ("ROWCOUNT_QUERIES_BLOBS_METHOD", "exact"),
    ]);
    let loaded = given.loaded();
    let old = query(&loaded, "old_tags");
    let sql = "SELECT count(*) FROM tags".to_owned();
    assert_eq!(old.source, Source::Statement { sql, table: None });
    assert_eq!((old.interval, old.timeout), (Duration::from_secs(60), Duration::from_secs(10)));
    assert_eq!(query(&loaded, "blobs").method, Method::Exact);
    let loaded = Given::minimum().env(&[("ROWCOUNT_REDIS_CACHE_ADDR", "a:6379,b:6379")]).loaded();
    assert_eq!(servers(&loaded), RedisServers::Cluster(vec![redis("a"), redis("b")]));
}

#[test]
fn addresses_are_of_one_server_of_sentinels_or_of_a_cluster() {
    let of = |cache: &str| servers(&Given::minimum().file(&format!("redis: {{cache: {{{cache}}}}}")).loaded());
    assert_eq!(of("addr: \"a:6379\""), RedisServers::Single(redis("a")));
    assert_eq!(of("addr: [\"a:6379\"]"), RedisServers::Single(redis("a")));
    assert_eq!(of("addr: [\"a:6379\", \"b:6379\"]"), RedisServers::Cluster(vec![redis("a"), redis("b")]));
    let one = Sentinels { addrs: vec![redis("a")], main_name: "main".to_owned(), username: None, password: None };
    assert_eq!(of("addr: \"a:6379\", mainname: main"), RedisServers::Sentinels(one.clone()));
    let two = Sentinels {
        addrs: vec![redis("a"), redis("b")],
        username: Some("u".to_owned()),
        password: Some(Secret::File("/run/s".into())),
        ..one
    };
    let cache = "addr: \"a:6379, b:6379\", mainname: main, sentinelusername: u, sentinelpasswordfile: /run/s, db: 2";
    assert_eq!(of(cache), RedisServers::Sentinels(two));
}

#[test]
fn a_builtins_name_changes_that_builtin() {
    let file = "catalog: registry\nqueries:\n  gc_blob_review_queue: {enabled: false}\n  tags: {enabled: true, interval: \
                1m}\n  blobs: {interval: 1m}\n  mine: {table: public.mine, method: auto}\n  off: {table: a, enabled: \
                false}\n  gc_blob_review_queue_overdue: {method: auto}\nredis: {cache: {addr: \"redis:6379\"}}\n";
    let loaded = Given::minimum().file(file).loaded();
    let names: Vec<_> = loaded.config.collection.queries.iter().map(|query| query.name.as_str()).collect();
    let want = [
        "applied_post_migrations",
        "applied_pre_migrations",
        "gc_blob_review_queue_overdue",
        "gc_manifest_review_queue",
        "gc_manifest_review_queue_overdue",
        "mine",
        "tags",
    ];
    assert_eq!(names, want);
    assert_eq!(query(&loaded, "mine").method, Method::Auto);
    assert_eq!(query(&loaded, "gc_blob_review_queue_overdue").method, Method::Exact, "SQL can only be run");
    assert!(query(&loaded, "tags").builtin);
    let warning = "queries.blobs: the catalog leaves it off; queries.blobs.enabled: true switches it on";
    assert_eq!(loaded.warnings, [warning]);
}

#[test]
fn the_registrys_file_is_read_as_the_registry_reads_it() {
    let registry = "version: 0.1\nstorage: {filesystem: {}}\nlog: {level: debug, formatter: text, accesslog: {}}\n\
                    database:\n  enabled: true\n  host: replica\n  primary: main\n  port: 5433\n  user: registry\n  \
                    password: 007\n  dbname: registry\n  connecttimeout: 0\n  pool: {maxopen: 5}\n  metrics: {enabled: \
                    false, interval: 20000000000, leaseduration: 1m}\nredis:\n  cache:\n    enabled: true\n    addr: \
                    one:26379,two:26379\n    mainname: main\n    sentinelusername: s\n    dialtimeout: 250ms\n    tls: {enabled: true, insecure: true}\n    pool: {size: 1}\n";
    let loaded = Given::nothing()
        .registry(registry)
        .env(&[("REGISTRY_REDIS_CACHE_DB", "3"), ("REGISTRY_REDIS_CACHE_SENTINELPASSWORD", "hunter2")])
        .loaded();
    let config = loaded.config;
    let DatabaseTarget::Parts { host, port, password, .. } = config.database.target else { panic!("want the parts") };
    assert_eq!((host.as_str(), port), ("main", 5433));
    assert_eq!(password, Some(Secret::Inline("007".to_owned())));
    assert_eq!(config.database.connect_timeout, Duration::from_secs(5), "a zero there is the default");
    assert!(config.lease.enabled, "metrics.enabled is the registry's own switch");
    assert_eq!(config.collection.interval, Duration::from_secs(20));
    assert_eq!(config.lease.duration, Duration::from_secs(60));
    let redis = config.redis.unwrap();
    let Sentinels { addrs, main_name, username, password } = match redis.servers {
        RedisServers::Sentinels(sentinels) => sentinels,
        other => panic!("{other:?}"),
    };
    assert_eq!((addrs.len(), addrs[1].host.as_str(), addrs[1].port), (2, "two", 26379));
    assert_eq!((main_name.as_str(), username.as_deref(), redis.db), ("main", Some("s"), 3));
    assert_eq!(password, Some(Secret::Inline("hunter2".to_owned())));
    assert_eq!(redis.dial_timeout, Duration::from_millis(250));
    assert!(redis.tls.is_some_and(|tls| tls.insecure));
    assert_eq!(config.log.level, tracing::Level::DEBUG);
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn the_registrys_variables_count_only_beside_its_file() {
    let given = Given::minimum().env(&[("REGISTRY_DATABASE_HOST", "theirs")]);
    let DatabaseTarget::Parts { host, .. } = given.loaded().config.database.target else { panic!("want the parts") };
    assert_eq!(host, "db");
}

#[test]
fn no_secret_is_ever_shown() {
    let given = Given::minimum().file(
        "database: {password: hunter2}\nredis: {cache: {addr: \"redis:6379\", passwordfile: /run/redis}}\nrates: \
             {prometheus: {url: \"http://p\", token: hunter2}}\n",
    );
    let loaded = given.loaded();
    let shown = format!("{loaded:?}\n{}", loaded.render());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("[redacted]") && shown.contains("/run/redis"), "{shown}");

    let wrong = [
        "database: {url: \"http://u:hunter2@h/d\"}",
        "database: {url: \"postgres://u:hunter2@h/d\"}",
        "database: {host: \"postgres://u:hunter2@h/d\"}",
        "database: {password: hunter2, passwordfile: a}",
        "database: {password: [hunter2]}",
        "database: {password: {a: hunter2}}",
        "database: {pasword: hunter2}",
        "database: {password: \"hunter2}",
        "redis: {cache: {addr: \"redis://:hunter2@h:6379\"}}",
        "redis: {cache: {sentinelpassword: hunter2}}",
        "redis: {cache: {addr: \"h:1,redis://:hunter2@h:6379\"}}",
        "rates: {prometheus: {url: \"http://u:hunter2@h\"}}",
        "rates: {prometheus: {url: \"http://h/?token=hunter2\"}}",
        "rates: {prometheus: {url: \"http://h\", token: hunter2, username: a}}",
        "rates: {prometheus: {url: \"http://h\", password: hunter2}}",
        "tracing: {endpoint: \"http://u:hunter2@h\"}",
    ];
    for file in wrong {
        let minimum = Given::nothing().registry("database: {host: db, user: rowcount, dbname: registry}\n");
        let problems = minimum.file(file).load().err().unwrap_or_else(|| panic!("{file} was taken"));
        assert!(!format!("{problems}{problems:?}").contains("hunter2"), "{problems}");
    }
}

#[test]
fn a_secret_may_lie_in_a_file() {
    let given = Given::minimum();
    let path = given.dir.path().join("password");
    fs::write(&path, "hunter2\n").unwrap();
    let given = given.env(&[("ROWCOUNT_DATABASE_PASSWORDFILE", path.to_str().unwrap())]);
    let DatabaseTarget::Parts { password, .. } = given.loaded().config.database.target else {
        panic!("want the parts")
    };
    assert_eq!(password.unwrap().read().unwrap(), "hunter2");
}

#[test]
fn the_rendered_settings_are_yaml_that_loads_to_the_same() {
    let sql = "queries: {mine: {sql: \"SELECT count(*)\\nFROM tags -- #1\", description: \"a: b\"}}\n";
    let given = Given::minimum().file(&format!("instanceid: a-1\n{sql}"));
    let first = given.loaded();
    let text = first.render();
    assert!(text.contains("\ndatabase:\n  url: \"\" "), "{text}");
    assert!(text.contains("  # environment ROWCOUNT_DATABASE_HOST\n"), "{text}");
    let second = Given::nothing().file(&text).loaded();
    let shown = |loaded: &Loaded| {
        let settings = loaded.effective.iter();
        settings.map(|setting| (setting.path.clone(), setting.shown.clone())).collect::<Vec<_>>()
    };
    assert_eq!(shown(&second), shown(&first));
}

#[test]
fn the_reference_lists_every_setting_with_its_default() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/configuration.md")).unwrap();
    let settings = SETTINGS.iter().map(|setting| {
        let default = if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
        format!("| `{}` | {default} | {} |", setting.path, setting.about)
    });
    let keys =
        QUERY_KEYS.iter().chain(COST_KEYS).chain(TOKEN_KEYS).map(|key| format!("| `{}` | {} |", key.key, key.about));
    let missing: Vec<_> = settings.chain(keys).filter(|row| !page.lines().any(|line| line == row)).collect();
    assert!(missing.is_empty(), "docs/configuration.md lacks these rows:\n{}", missing.join("\n"));
}

#[test]
fn the_example_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/rowcount.yaml");
    let args = ServeArgs { config: Some(path), ..ServeArgs::default() };
    let loaded = config::load(&args, std::iter::empty()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(query(&loaded, "deleted_repositories").timeout, Duration::from_secs(5));
}

#[test]
fn costs_are_records_in_a_file_and_json_in_a_variable() {
    let file = "rates:\n  costs:\n  - {method: PUT, handler: manifest, code: 201, kind: new image by tag, select: 9+4*L, \
                insert: 2}\n  - method: get\n    handler: /v2/{name}/referrers/{digest}\n    select: 3\n";
    let given = Given::minimum().file(file);
    let loaded = given.loaded();
    let [put, get] = &loaded.config.rates.costs[..] else { panic!("two costs") };
    assert_eq!((&*put.field, &*put.kind, &*put.code), ("rates.costs[0]", "new image by tag", "201"));
    assert_eq!(put.operations[Operation::Select].to_string(), "9+4*L");
    assert_eq!(
        (&*get.handler, get.operations[Operation::Select].to_string()),
        ("/v2/{name}/referrers/{digest}", "3".into())
    );
    let text = loaded.render();
    let line = text.lines().find(|line| line.starts_with("  costs: ")).unwrap();
    assert!(
        line.contains(r#"{method: PUT, handler: manifest, code: 201, kind: "new image by tag", select: "9+4*L""#),
        "{line}"
    );
    let again = Given::nothing().file(&text).loaded();
    assert_eq!(again.config.rates.costs, loaded.config.rates.costs, "what is shown reads as the same");

    let json = r#"[{"method": "get", "handler": "tags", "select": 7, "update": "T"}]"#;
    let given = Given::minimum().file(file).env(&[("ROWCOUNT_RATES_COSTS", json)]);
    let [tags] = &given.loaded().config.rates.costs[..] else { panic!("one cost: a variable replaces the list") };
    assert_eq!(tags.operations[Operation::Update].to_string(), "T");
    let given = Given::minimum().file(file).env(&[("ROWCOUNT_RATES_COSTS", "")]);
    assert!(given.loaded().config.rates.costs.is_empty(), "an empty text takes back what a lower layer gave");
    let given = Given::minimum().env(&[("ROWCOUNT_RATES_COSTS", "[{")]);
    let refused = given.refused().remove(0);
    assert!(refused.starts_with("rates.costs: is neither YAML nor JSON: "), "{refused}");
    assert!(refused.ends_with(" (environment ROWCOUNT_RATES_COSTS)"), "{refused}");
}

#[test]
fn opentelemetrys_own_variables_name_the_endpoint_unless_ours_does() {
    let endpoint = |given: Given| given.loaded().config.tracing.endpoint;
    let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4317");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4317");
    assert_eq!(endpoint(Given::minimum()), None);
    assert_eq!(endpoint(Given::minimum().env(&[all])).as_deref(), Some("http://all:4317"));
    assert_eq!(endpoint(Given::minimum().env(&[all, traces])).as_deref(), Some("http://traces:4317"));
    let ours = Given::minimum().env(&[all, traces]).file("tracing: {endpoint: 'http://ours:4317'}");
    assert_eq!(endpoint(ours).as_deref(), Some("http://ours:4317"));
}
