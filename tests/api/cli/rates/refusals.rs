//! What cannot be: 1 for data, by line and field; 2 for arguments. Nothing is printed that could pass for an answer.

use super::{EXAMPLE, NOBODY, PUBLISHED, file, run};

async fn refused(args: &[&str]) -> (i32, String) {
    let (code, stdout, stderr) = run(NOBODY, &[&["rates"][..], args].concat()).await;
    assert_eq!(stdout, "", "{args:?}");
    (code, stderr)
}

/// Error line about a file with this content, with `FILE` for its name.
async fn told(suffix: &str, content: impl AsRef<[u8]>, args: &[&str]) -> String {
    let file = file(suffix, content);
    let path = file.path().to_str().unwrap();
    let (code, stderr) = refused(&[&["--from", path][..], args].concat()).await;
    assert_eq!(code, 1, "{stderr}");
    stderr.replace(path, "FILE")
}

#[tokio::test]
async fn a_table_of_rates_is_refused_by_line_and_column() {
    let wanted = "want the columns handler (or route), method, requests_per_second and, optionally, code";
    let header = "handler,method,requests_per_second\n";
    for (content, error) in [
        ("handler,method\nblob,GET\n".to_owned(), format!("line 1: column requests_per_second is missing; {wanted}")),
        (
            format!("{header}blob,GET,1\ntags,GET,-1\n"),
            "line 3: requests_per_second: -1 is not a number of 0 or more".to_owned(),
        ),
        (format!("{header}blob,GET,NaN\n"), "line 2: requests_per_second: NaN is not a number of 0 or more".to_owned()),
        (format!("{header}blob,GET,inf\n"), "line 2: requests_per_second: inf is not a number of 0 or more".to_owned()),
        (format!("{header}blob,GET,many\n"), "line 2: requests_per_second: \"many\" is not a number".to_owned()),
        (
            format!("# by hand\n{header}Blob,GET,1\n/v2/{{name}}/blobs/{{digest}},get,2\n"),
            "line 4: handler: get /v2/{name}/blobs/{digest} is on line 3 already, for every code".to_owned(),
        ),
        (header.to_owned(), "there is no rate in it".to_owned()),
        (String::new(), "is empty".to_owned()),
    ] {
        assert_eq!(told(".csv", &content, &[]).await, format!("error: FILE: {error}\n"), "{content}");
    }
    assert_eq!(told(".csv", b"handler\n\xff\n", &[]).await, "error: FILE: line 2: is not UTF-8\n");
}

#[tokio::test]
async fn an_object_is_refused_by_its_line_or_by_its_field() {
    let unknown = told(".json", "{\n  \"growth\": 2\n}", &[]).await;
    assert!(unknown.starts_with("error: FILE: is no EstimateRatesRequest: "), "{unknown}");
    assert!(unknown.contains("'growth'") && unknown.contains("line 2"), "{unknown}");
    let rates = |rates: &str| format!("{{\"requestRates\": {{\"rates\": [{rates}]}}}}");
    let one = "{\"handler\": \"blob\", \"method\": \"GET\", \"requestsPerSecond\": 1}";
    for (content, error) in [
        (rates(""), "request_rates.rates: is empty: nothing is known of the load"),
        (
            rates(&one.replace("1}", "-1}")),
            "request_rates.rates[0].requests_per_second: -1 is not a number of 0 or more",
        ),
        (
            rates(&one.replace("1}", "\"NaN\"}")),
            "request_rates.rates[0].requests_per_second: NaN is not a number of 0 or more",
        ),
        (rates(&format!("{one}, {one}")), "request_rates.rates[1].handler: GET blob is given by rates[0] already"),
    ] {
        assert_eq!(told(".json", &content, &[]).await, format!("error: FILE: {error}\n"));
    }
    let growth = format!("{{\"growthFactor\": -1, {}", &rates(one)[1..]);
    assert_eq!(told(".json", growth, &[]).await, "error: growth_factor (--growth): -1 is not a number of 0 or more\n");
}

#[tokio::test]
async fn shares_that_sum_beyond_one_are_refused() {
    let args = ["--share", "put manifest 201 new image by tag=0.7", "--share", "put manifest 201 new index by tag=0.4"];
    let error = "error: cost_parameters.kind_shares[1].share (--share): the shares of this handler, method and code sum to 1.1, \
                 which is more than 1\n";
    assert_eq!(refused(&[&["--from", PUBLISHED][..], &args].concat()).await, (1, error.to_owned()));
    let (code, stderr) = refused(&["--from", PUBLISHED, "--share", "put manifest 201 old=0.5"]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("\"old\"; there are: new image by tag, "), "{stderr}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_told() {
    let error = "error: cannot read /nonexistent/rates.csv: No such file or directory (os error 2)\n";
    assert_eq!(refused(&["--from", "/nonexistent/rates.csv"]).await, (1, error.to_owned()));
}

#[tokio::test]
async fn a_prometheus_that_is_not_there_is_told() {
    let (code, stderr) = refused(&["--prometheus", NOBODY]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.lines().count() == 1, "{stderr}");
}

#[tokio::test]
async fn wrong_usage_exits_2() {
    let token = file("", "hunter2\n");
    let token = token.path().to_str().unwrap();
    let published = |args: &'static [&'static str]| [&["--from", PUBLISHED][..], args].concat();
    let growth = "'--growth <FACTOR>': ";
    for (args, told) in [
        (published(&["--growth", "0"]), format!("{growth}0 is not a number above 0")),
        (published(&["--growth", "-1"]), format!("{growth}-1 is not a number above 0")),
        (published(&["--growth", "NaN"]), format!("{growth}NaN is not a finite number")),
        (published(&["--growth", "inf"]), format!("{growth}inf is not a finite number")),
        (published(&["--growth", "twice"]), format!("{growth}\"twice\" is not a number")),
        (published(&["--monthly-growth", "-0.1"]), "-0.1 is not a number of 0 or more".to_owned()),
        (published(&["--horizon", "0"]), "0 is not in 1..=1200".to_owned()),
        (published(&["--ceiling", "0"]), "0 is not a number above 0".to_owned()),
        (published(&["--layers", "0"]), "0 is not a number above 0".to_owned()),
        (published(&["--model", "registry-5"]), "possible values: registry-4.32, published-2020".to_owned()),
        (published(&["--share", "new=0.5"]), "want METHOD HANDLER [CODE] KIND=SHARE".to_owned()),
        (published(&["--share", "put manifest new=2"]), "a share is a number from 0 to 1, not 2".to_owned()),
        (published(&["--window", "1h"]), "are for Prometheus, but --from gives the rates".to_owned()),
        (published(&["--prometheus", NOBODY]), "cannot be used with '--prometheus <URL>'".to_owned()),
        (published(&["model"]), "the subcommand 'model' cannot be used with".to_owned()),
        (vec!["--from", EXAMPLE, "--at", "2026-01-01T00:00:00Z"], "are for Prometheus".to_owned()),
        (vec!["--at", "noon"], "want a time like 2026-06-19T18:00:00Z".to_owned()),
        (vec!["--window", "0s"], "want more than no time".to_owned()),
        (vec!["--prometheus", NOBODY, "--server", NOBODY], "leave --server out".to_owned()),
        (vec!["--prometheus", "http://u:hunter2@127.0.0.1:1"], "credentials go into --token-file".to_owned()),
        (
            vec!["--prometheus", "http://10.0.0.1:1", "--token-file", token],
            "a token is not sent in plaintext to http://10.0.0.1:1/: use an https --prometheus".to_owned(),
        ),
        (vec!["--prometheus", NOBODY, "--tls-ca", "x"], "--tls-ca and --tls-cert are for https".to_owned()),
        (vec!["validate", "--for", "0s"], "want more than no time".to_owned()),
    ] {
        let (code, stderr) = refused(&args).await;
        assert_eq!(code, 2, "{args:?}: {stderr}");
        assert!(stderr.contains(&told), "{args:?}: {stderr}");
    }
}
