//! Every refusal of a value, word for word.

use super::Given;

#[test]
fn each_wrong_value_is_refused_by_its_path_and_place() {
    let cases = [
        ("databse: {host: db}", "databse: no such setting; the nearest is database (file rowcount.yaml:1)"),
        (
            "database:\n  metrics:\n    lease_duration: 30s",
            "database.metrics.lease_duration: no such setting; the nearest is database.metrics.leaseduration (file \
             rowcount.yaml:3)",
        ),
        (
            "leaseduration: 30s",
            "leaseduration: no such setting; the nearest is database.metrics.leaseduration (file rowcount.yaml:1)",
        ),
        ("database: db", "database: want keys, not a value (file rowcount.yaml:1)"),
        ("database: {port: [1]}", "database.port: want one value, not a list (file rowcount.yaml:1)"),
        ("cluster: {name: a}", "cluster: want one value, not keys (file rowcount.yaml:1)"),
        ("- cluster", "--config: want keys (file rowcount.yaml:1)"),
        ("cluster: a\ncluster: b", "--config: rowcount.yaml:2: the key cluster is given twice"),
        ("cluster: [", "--config: rowcount.yaml:1: unclosed bracket '['"),
        (
            "database: {metrics: {interval: 10}}",
            "database.metrics.interval: 10 has no unit; write 10s for seconds, or use ms, m or h (file rowcount.yaml:1)",
        ),
        (
            "database: {metrics: {interval: 50ms}}",
            "database.metrics.interval: 50ms is too short; the least is 100ms (file rowcount.yaml:1)",
        ),
        (
            "database: {metrics: {interval: 0s}}",
            "database.metrics.interval: 0s is too short; the least is 100ms (file rowcount.yaml:1)",
        ),
        ("collection: {timeout: -5s}", "collection.timeout: -5s is negative (file rowcount.yaml:1)"),
        (
            "collection: {timeout: 9000h}",
            "collection.timeout: 9000h is too long; the most is 8760h (file rowcount.yaml:1)",
        ),
        (
            "collection: {timeout: soon}",
            "collection.timeout: \"soon\" is not a duration; write it like 10s, 1m30s or 500ms (file rowcount.yaml:1)",
        ),
        (
            "database: {metrics: {interval: 30s}}",
            "database.metrics.leaseduration: 30s (default) must be longer than database.metrics.interval, 30s (file rowcount.yaml:1)",
        ),
        (
            "lease: {quarantine: 30s}",
            "lease.quarantine: 30s (file rowcount.yaml:1) must be 0s, or at least 31.5s: database.metrics.leaseduration, 30s \
             (default), and its margin",
        ),
        (
            "database: {connections: 0}",
            "database.connections: \"0\" is not a whole number from 1 to 1000 (file rowcount.yaml:1)",
        ),
        (
            "collection: {staleafter: 0}",
            "collection.staleafter: \"0\" is not a whole number from 1 to 1000000 (file rowcount.yaml:1)",
        ),
        ("insecure: yes", "insecure: \"yes\" is neither true nor false (file rowcount.yaml:1)"),
        ("catalog: some", "catalog: \"some\" is not one of all, registry, none (file rowcount.yaml:1)"),
        (
            "grpc: {addr: \":50051\"}",
            "grpc.addr: :50051 is not loopback and has no TLS; set grpc.tls.certificate and grpc.tls.key, or insecure: true to allow plaintext \
             there (file rowcount.yaml:1)",
        ),
        (
            "http: {addr: \"0.0.0.0:0\"}",
            "http.addr: 0.0.0.0:0 is not loopback and has no TLS; set http.tls.certificate and http.tls.key, or insecure: true to allow \
             plaintext there (file rowcount.yaml:1)",
        ),
        (
            "http: {addr: \"localhost:50051\"}",
            "http.addr: localhost:50051 (file rowcount.yaml:1) is also grpc.addr, 127.0.0.1:50051 (default); give each a port \
             of its own",
        ),
        (
            "grpc: {addr: localhost}",
            "grpc.addr: want IP:port, localhost:port, or :port for every interface (file rowcount.yaml:1)",
        ),
        (
            "cluster: a b",
            "cluster: \"a b\" is not a fleet's name; want letters, digits, _, . and - (file rowcount.yaml:1)",
        ),
        (
            "instanceid: a b",
            "instanceid: \"a b\" is not an instance's name; want at most 128 printable ASCII characters, no spaces (file \
             rowcount.yaml:1)",
        ),
        (
            "redis: {cache: {addr: redis}}",
            "redis.cache.addr: want host:port, without a scheme or a user (file rowcount.yaml:1)",
        ),
        (
            "redis: {cache: {addr: \"a:1,\"}}",
            "redis.cache.addr: want host:port, without a scheme or a user (file rowcount.yaml:1)",
        ),
        (
            "redis: {cache: {addr: [\"a:1\", \"b:1\", \"a:1\"]}}",
            "redis.cache.addr: a:1 is given twice (file rowcount.yaml:1)",
        ),
        (
            "redis: {cache: {addr: [\"a:1\", \"b:1\"], db: 2}}",
            "redis.cache.db: 2 (file rowcount.yaml:1) is not in a Cluster, which has 0 only; set redis.cache.mainname where \
             the addresses are Sentinels",
        ),
        (
            "redis: {cache: {mainname: main}}",
            "redis.cache.mainname: is set to main (file rowcount.yaml:1), but redis.cache.addr names no Sentinel",
        ),
        (
            "redis: {cache: {addr: \"a:1\", sentinelpasswordfile: a}}",
            "redis.cache.mainname: is not set, but redis.cache.sentinelpasswordfile (file rowcount.yaml:1) is",
        ),
        (
            "redis: {cache: {addr: \"a:1\", mainname: main, sentinelpassword: a, sentinelpasswordfile: b}}",
            "redis.cache.sentinelpassword: give redis.cache.sentinelpassword (file rowcount.yaml:1) or \
             redis.cache.sentinelpasswordfile (file rowcount.yaml:1), not both",
        ),
        (
            "rates: {gauge: {enabled: true}}",
            "rates.gauge.enabled: true (file rowcount.yaml:1) needs rates.prometheus.url, which is not set",
        ),
        (
            "rates: {gauge: {model: registry-5}}",
            "rates.gauge.model: \"registry-5\" is not one of registry-4.32, published-2020, parametric-2020 (file \
             rowcount.yaml:1)",
        ),
        (
            "rates: {gauge: {interval: 10ms}}",
            "rates.gauge.interval: 10ms is too short; the least is 1s (file rowcount.yaml:1)",
        ),
        ("rates: {costs: {method: get}}", "rates.costs: want a list of records (file rowcount.yaml:1)"),
        ("rates: {costs: [get]}", "rates.costs[0]: want keys, not a value (file rowcount.yaml:1)"),
        (
            "rates:\n  costs:\n  - {method: get, handler: blob, select: 1}\n  - method: get\n    handlr: tags\n    \
             handler: tags\n    select: 1",
            "rates.costs[1].handlr: no such key of a cost; the nearest is handler (file rowcount.yaml:5)",
        ),
        ("rates: {costs: [{handler: a, select: 1}]}", "rates.costs[0].method: is not set (file rowcount.yaml:1)"),
        (
            "rates: {costs: [{method: get, handler: a}]}",
            "rates.costs[0]: has none of select, insert, update and delete; write select: 0 when it costs nothing (file \
             rowcount.yaml:1)",
        ),
        (
            "rates: {costs: [{method: get, handler: a, code: 2xx, select: 1}]}",
            "rates.costs[0].code: \"2xx\" is not a response code of three digits (file rowcount.yaml:1)",
        ),
        (
            "rates: {costs: [{method: get, handler: a, insert: 1, select: [1]}]}",
            "rates.costs[0].select: want one value (file rowcount.yaml:1)",
        ),
        (
            "rates: {costs: [{method: get, handler: a, select: 1},\n {method: get, handler: b, select: L-11}]}",
            "rates.costs[1].select: L-11 is below 0 for some sizes (file rowcount.yaml:2)",
        ),
        (
            "rates: {costs: [{method: get, handler: a, insert: 2L}]}",
            "rates.costs[0].insert: \"2L\" is not an expression: want numbers, L, M, T, +, -, * and parentheses, like \
             9+4*L (file rowcount.yaml:1)",
        ),
        (
            "rates: {costs: [{method: get, handler: a, select: 1}, {method: GET, handler: A, select: 2}]}",
            "rates.costs[1]: is of the same requests as rates.costs[0] (file rowcount.yaml:1)",
        ),
        (
            "rates: {costs: [{method: get, handler: tags, code: 200, kind: some, select: 1}]}",
            "rates.costs[0].kind: no kind of get tags 200 is \"some\"; there are: tags (file rowcount.yaml:1)",
        ),
        (
            "rates: {costs: [{method: put, handler: manifest, select: 1},\n {method: put, handler: manifest, code: 201, \
             kind: new image by tag, select: 1}]}",
            "rates.costs[1].kind: no kind of put manifest 201 is \"new image by tag\"; there are: any (in registry-4.32) \
             (file rowcount.yaml:2)",
        ),
        (
            "rates: {prometheus: {url: \"prometheus:9090\"}}",
            "rates.prometheus.url: want http://host:port or https://host:port, with a path if need be, without a user, a \
             query or a fragment (file rowcount.yaml:1)",
        ),
        (
            "rates: {prometheus: {url: \"http://prometheus:9090?tenant=a\"}}",
            "rates.prometheus.url: want http://host:port or https://host:port, with a path if need be, without a user, a \
             query or a fragment (file rowcount.yaml:1)",
        ),
        (
            "rates: {prometheus: {url: \"http://p\", tokenfile: a, username: b}}",
            "rates.prometheus.token: give rates.prometheus.tokenfile (file rowcount.yaml:1) or rates.prometheus.username \
             (file rowcount.yaml:1), not both",
        ),
        (
            "rates: {prometheus: {url: \"http://p\", password: a}}",
            "rates.prometheus.username: is not set, but rates.prometheus.password (file rowcount.yaml:1) is",
        ),
        (
            "rates: {prometheus: {url: \"http://p\", tenant: \" a\"}}",
            "rates.prometheus.tenant: \" a\" is no header's value; want printable ASCII characters (file rowcount.yaml:1)",
        ),
        (
            "rates: {prometheus: {url: \"http://p\", timeout: 10}}",
            "rates.prometheus.timeout: 10 has no unit; write 10s for seconds, or use ms, m or h (file rowcount.yaml:1)",
        ),
        (
            "rates: {prometheus: {url: \"https://p\", tls: {key: a.key}}}",
            "rates.prometheus.tls.certificate: is not set, but rates.prometheus.tls.key is, to a.key (file \
             rowcount.yaml:1)",
        ),
        (
            "rates: {prometheus: {url: \"https://p\", tls: {insecure: maybe}}}",
            "rates.prometheus.tls.insecure: \"maybe\" is neither true nor false (file rowcount.yaml:1)",
        ),
        (
            "tracing: {endpoint: \"collector:4317\"}",
            "tracing.endpoint: want http://host:port or https://host:port, without a user (file rowcount.yaml:1)",
        ),
        (
            "database: {sslcert: a.pem}",
            "database.sslkey: is not set, but database.sslcert is, to a.pem (file rowcount.yaml:1)",
        ),
        (
            "database: {sslmode: verify}",
            "database.sslmode: \"verify\" is not one of disable, allow, prefer, require, verify-ca, verify-full (file \
             rowcount.yaml:1)",
        ),
        (
            "database: {password: a, passwordfile: b}",
            "database.password: give database.password (file rowcount.yaml:1) or database.passwordfile (file \
             rowcount.yaml:1), not both",
        ),
        ("queries: [a]", "queries: want keys, not a value (file rowcount.yaml:1)"),
        (
            "queries: {Tags: {table: tags}}",
            "queries.Tags: \"Tags\" is not a query name: want a lower-case letter, then lower-case letters, digits and \
             _, at most 63 in all (file rowcount.yaml:1)",
        ),
        (
            "queries: {mine: {tabel: tags, sql: SELECT 1}}",
            "queries.mine.tabel: no such key of a query; the nearest is table (file rowcount.yaml:1)",
        ),
        (
            "queries: {mine: }",
            "queries.mine: is no built-in and has neither sql nor table; give one of them (file rowcount.yaml:1)",
        ),
        (
            "queries: {mine: {sql: SELECT 1, table: tags}}",
            "queries.mine: has both sql and table; give one of them (file rowcount.yaml:1)",
        ),
        (
            "queries: {mine: {sql: \" \"}}",
            "queries.mine.sql: is empty; give one SELECT that returns one integer (file rowcount.yaml:1)",
        ),
        (
            "queries: {mine: {sql: SELECT 1; DROP TABLE tags}}",
            "queries.mine.sql: holds more than one statement; give one SELECT that returns one integer (file \
             rowcount.yaml:1)",
        ),
        (
            "queries: {mine: {table: tags t}}",
            "queries.mine.table: \"tags t\" is not a table name; want name or schema.name of letters, digits, _ and $ \
             (file rowcount.yaml:1)",
        ),
        (
            "queries: {tags: {sql: SELECT 1}}",
            "queries.tags.sql: what a built-in counts is fixed; give your query a name of its own (file \
             rowcount.yaml:1)",
        ),
        (
            "queries: {tags: {method: guess}}",
            "queries.tags.method: \"guess\" is not one of exact, exactcapped, followed, estimated, auto (file \
             rowcount.yaml:1)",
        ),
        (
            "queries: {mine: {sql: SELECT 1, method: followed}}",
            "queries.mine.method: only all rows of a table can be counted like that; use exact (file rowcount.yaml:1)",
        ),
        (
            "queries: {tags: {cap: 5}}",
            "queries.tags.cap: means something with method: exactcapped only (file rowcount.yaml:1)",
        ),
        (
            "queries: {tags: {method: exactcapped, cap: 0}}",
            "queries.tags.cap: \"0\" is not a whole number from 1 to 9223372036854775807 (file rowcount.yaml:1)",
        ),
        ("queries: {tags: {method: exactcapped}}", "queries.tags.cap: must say how many rows are counted at most"),
        (
            "queries: {tags: {interval: 5}}",
            "queries.tags.interval: 5 has no unit; write 5s for seconds, or use ms, m or h (file rowcount.yaml:1)",
        ),
        (
            "queries: {tags: {enabled: maybe}}",
            "queries.tags.enabled: \"maybe\" is neither true nor false (file rowcount.yaml:1)",
        ),
    ];
    for (file, want) in cases {
        assert_eq!(Given::minimum().file(file).refused(), [want], "{file}");
    }
}
