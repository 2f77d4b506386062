//! A window that Prometheus has no samples for gives no rate that is too low in silence.

use std::time::Duration;

use rowcount::prometheus::Cause;

use super::{HOUR, Past, close, close_pair, counted, hours, observed, rate};

const MANIFESTS: &str = "registry_http_requests_total{handler=\"manifest\",method=\"get\",code=\"200\"}";
const UPLOADS: &str = "registry_http_requests_total{handler=\"blob_upload\",method=\"put\",code=\"201\"}";

#[tokio::test]
async fn a_young_metric_cuts_the_window_to_what_there_is() {
    let past = Past::of("registry_http_requests").series(MANIFESTS, HOUR / 2, 0, |_| 9.0);
    let Some(server) = past.server().await else { return };
    let young = observed(&server, &[past.end]).await.unwrap();
    close_pair(&young, "get manifest 200", 9.0, 9.0);
    let off = young.window.abs_diff(Duration::from_secs(1800));
    assert!(off <= Duration::from_secs(10), "{:?}", young.window);
    let [there, cut] = &young.warnings[..] else { panic!("{:?}", young.warnings) };
    let end = humantime::format_rfc3339_seconds(past.end);
    let is = |minutes| {
        there == &format!("registry_http_requests_total has samples for only {minutes}m of the 48h before {end}")
    };
    assert!(is(30) || is(29), "{there}");
    assert!(cut.starts_with("the window was cut from 48h to "), "{cut}");
    assert!(young.promql.contains(&format!("[{}]", cut.rsplit(' ').next().unwrap())), "{cut}: {}", young.promql);

    // Of several times, all have the window of the youngest.
    let both = observed(&server, &[past.end, past.ago(1200)]).await.unwrap();
    assert!(both.window.abs_diff(Duration::from_secs(600)) <= Duration::from_secs(10), "{:?}", both.window);
    close("manifests", rate(&both, "get manifest 200").unwrap().0, 9.0);

    // What began between two of the looks at 48 h is found by looking closer, and is too little.
    for (before, most) in [(1800 - 110, 2), (1800 - 170, 3)] {
        let error = observed(&server, &[past.ago(before)]).await.unwrap_err();
        // Prometheus 3 leaves a sample out that lies exactly at the beginning of a window.
        let is_few = |samples| samples == most || samples + 1 == most;
        assert!(matches!(error.cause, Cause::FewSamples { samples, .. } if is_few(samples)), "{error}");
        assert!(error.to_string().contains("samples of a series of registry_http_requests_total in the "), "{error}");
    }
    let error = observed(&server, &[past.ago(HOUR)]).await.unwrap_err();
    assert!(matches!(error.cause, Cause::NoSeries { window, .. } if window == hours(48)), "{error}");
}

#[tokio::test]
async fn a_young_pair_of_an_old_metric_is_named() {
    let past = Past::of("registry_http_requests").series(MANIFESTS, 50 * HOUR, 0, |_| 9.0).series(
        UPLOADS,
        3 * HOUR,
        0,
        |_| 1.0,
    );
    let Some(server) = past.server().await else { return };
    let observed = observed(&server, &[past.end]).await.unwrap();
    assert_eq!(observed.window, hours(48));
    close_pair(&observed, "put blob_upload 201", 3.0 / 48.0, 1.0);
    let [warning] = &observed.warnings[..] else { panic!("{:?}", observed.warnings) };
    let is = |age| {
        let window = "some pairs are younger than the window of 48h, over which their rates are means all the same";
        warning == &format!("{window}: put blob_upload 201 ({age})")
    };
    assert!(is("3h") || is("2h50m"), "{warning}");
}

#[tokio::test]
async fn a_metric_that_ended_is_looked_at_until_its_end() {
    let past = Past::of("registry_http_requests").series(MANIFESTS, 50 * HOUR, 10 * HOUR, |_| 9.0);
    let Some(server) = past.server().await else { return };
    let ended = observed(&server, &[past.end]).await.unwrap();
    close_pair(&ended, "get manifest 200", 9.0, 9.0);
    assert!(ended.window.abs_diff(hours(38)) <= Duration::from_secs(900), "{:?}", ended.window);
    let [there, _cut] = &ended.warnings[..] else { panic!("{:?}", ended.warnings) };
    assert!(there.contains(" of the 48h before ") && there.contains(", the last from "), "{there}");
    let ahead = observed(&server, &[past.end + hours(1000)]).await.unwrap_err();
    assert!(matches!(ahead.cause, Cause::NoSeries { .. }), "{ahead}");
}

#[tokio::test]
async fn a_hole_is_told_since_pods_may_have_come_and_gone_in_it() {
    let pods = [(50 * HOUR, 30 * HOUR, "a"), (20 * HOUR, 0, "b")];
    let past = pods.into_iter().fold(Past::of("registry_http_requests"), |past, (from, to, pod)| {
        past.series(&MANIFESTS.replace('}', &format!(",pod=\"{pod}\"}}")), from, to, |_| 9.0)
    });
    let Some(server) = past.server().await else { return };
    let observed = observed(&server, &[past.end]).await.unwrap();
    close("what was counted", rate(&observed, "get manifest 200").unwrap().0, 9.0 * 38.0 / 48.0);
    let [warning] = &observed.warnings[..] else { panic!("{:?}", observed.warnings) };
    assert!(warning.starts_with("registry_http_requests_total has no samples for about "), "{warning}");
    assert!(warning.contains(" about 9h") || warning.contains(" about 10h"), "{warning}");

    // A counter that went on counting meanwhile has lost nothing.
    let past = Past::of("registry_http_requests").series(MANIFESTS, 50 * HOUR, 0, |_| 9.0);
    let Some(server) = past.server().await else { return };
    assert_eq!(super::observed(&server, &[past.end]).await.unwrap().warnings, Vec::<String>::new());
    let short = counted(&server, hours(1), past.end).await.unwrap_err();
    assert!(
        short.to_string().contains("has no series of registry_database_queries_total in the 1h before "),
        "{short}"
    );
}
