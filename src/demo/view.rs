//! What the demo shows: the counts with their age and exactness, who holds the lease, what to try.

use std::{fmt::Write, time::SystemTime};

use comfy_table::{Table, presets};

use crate::{
    demo::fleet::{InstanceLook, Look},
    proto::v1::{Method, RowCount, instance::Role, lease},
};

/// The whole page as of `now`.
pub(super) fn page(look: &Look, now: SystemTime) -> String {
    format!("{}\n\n{}\n\n{}", lease_line(look), counts(look, now).trim_fmt(), instances(look).trim_fmt())
}

/// One line for where there is no terminal.
pub(super) fn line(look: &Look, now: SystemTime) -> String {
    let counts = look.counts.as_ref().map_or(&[][..], |counts| &counts.row_counts);
    let counted: i64 = counts.iter().filter_map(|count| count.row_count).sum();
    let known = counts.iter().filter(|count| count.row_count.is_some()).count();
    let oldest = counts.iter().filter_map(|count| age(count, now)).fold(0.0, f64::max);
    format!("{}: {known} queries, {counted} rows, the oldest count is {oldest:.1}s old", lease_line(look))
}

/// Commands that work while the demo runs.
pub(super) fn hints(look: &Look, program: &str, database: &str) -> String {
    let mut text = String::from("Try:\n");
    if let Some(instance) = look.instances.iter().find(|instance| instance.role.is_some()) {
        let _ = writeln!(text, "  {program} counts --server http://127.0.0.1:{}", instance.grpc);
        let _ =
            writeln!(text, "  grpcurl -plaintext 127.0.0.1:{} rowcount.v1.RowCountService/GetRowCounts", instance.grpc);
    }
    if let Some(InstanceLook { http, pid: Some(pid), name, .. }) = look.holder() {
        let _ = writeln!(text, "  curl -s http://127.0.0.1:{http}/metrics | grep ^registry_database_rows");
        let _ = writeln!(text, "  kill -9 {pid}    # {name}, which holds the lease");
    }
    let _ = writeln!(text, "  psql {database}");
    text
}

fn lease_line(look: &Look) -> String {
    let Some(lease) = &look.lease else { return "nobody answers".to_owned() };
    let epoch = lease.epoch;
    match lease.state() {
        lease::State::Held => format!("{} holds the lease, epoch {epoch}", lease.holder_id),
        lease::State::Free => format!("nobody holds the lease, the last epoch was {epoch}"),
        lease::State::Quarantined => "nobody is let in yet".to_owned(),
        lease::State::Unknown | lease::State::Unspecified => "the lease store is out of reach".to_owned(),
    }
}

fn counts(look: &Look, now: SystemTime) -> Table {
    let mut table = plain(["QUERY", "ROWS", "AT LEAST", "AT MOST", "METHOD", "AGE", "EPOCH", "ERROR"]);
    for count in look.counts.iter().flat_map(|counts| &counts.row_counts) {
        let number = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
        let age = age(count, now).map_or("-".to_owned(), |age| format!("{age:.1}s"));
        let error = count.error.as_ref().map_or(String::new(), |error| error.message.clone());
        table.add_row([
            count.query_name.clone(),
            number(count.row_count),
            number(count.lower_bound),
            number(count.upper_bound),
            method(count.method()).to_owned(),
            if count.stale { format!("{age} stale") } else { age },
            count.epoch.to_string(),
            error,
        ]);
    }
    table
}

fn instances(look: &Look) -> Table {
    let mut table = plain(["INSTANCE", "PID", "ROLE", "GRPC", "HTTP"]);
    for InstanceLook { name, pid, grpc, http, role } in &look.instances {
        let role = match (pid, role) {
            (None, _) => "dead",
            (_, Some(Role::Holder)) => "holder",
            (_, Some(Role::Standby)) => "standby",
            (_, Some(Role::Observer)) => "observer",
            (_, Some(Role::Unspecified) | None) => "silent",
        };
        let pid = pid.map_or("-".to_owned(), |pid| pid.to_string());
        table.add_row([name.clone(), pid, role.to_owned(), format!("127.0.0.1:{grpc}"), format!("127.0.0.1:{http}")]);
    }
    table
}

fn plain<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

fn age(count: &RowCount, now: SystemTime) -> Option<f64> {
    let observed = SystemTime::try_from(count.observe_time?).ok()?;
    Some(now.duration_since(observed).unwrap_or_default().as_secs_f64())
}

fn method(method: Method) -> &'static str {
    match method {
        Method::Unspecified => "-",
        Method::Exact => "exact",
        Method::ExactCapped => "exact_capped",
        Method::Followed => "followed",
        Method::Estimated => "estimated",
        Method::Auto => "auto",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::v1::{GetRowCountsResponse, Lease};

    #[test]
    fn a_page_shows_counts_roles_and_the_dead() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let count = RowCount {
            query_name: "tags".into(),
            row_count: Some(42),
            method: Method::Followed.into(),
            lower_bound: Some(40),
            upper_bound: Some(44),
            observe_time: Some((now - Duration::from_secs(2)).into()),
            epoch: 7,
            ..Default::default()
        };
        let instance = |name: &str, pid, role| InstanceLook { name: name.into(), pid, grpc: 1, http: 2, role };
        let look = Look {
            counts: Some(GetRowCountsResponse { row_counts: vec![count], ..Default::default() }),
            lease: Some(Lease {
                state: lease::State::Held.into(),
                holder_id: "b".into(),
                epoch: 7,
                ..Default::default()
            }),
            instances: vec![instance("a", None, None), instance("b", Some(9), Some(Role::Holder))],
        };
        let page = page(&look, now);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<_> = page.lines().map(words).collect();
        assert!(lines.contains(&"b holds the lease, epoch 7".to_owned()), "{page}");
        assert!(lines.contains(&"tags 42 40 44 followed 2.0s 7".to_owned()), "{page}");
        assert!(lines.contains(&"a - dead 127.0.0.1:1 127.0.0.1:2".to_owned()), "{page}");
        assert!(lines.contains(&"b 9 holder 127.0.0.1:1 127.0.0.1:2".to_owned()), "{page}");
        assert!(line(&look, now).ends_with("1 queries, 42 rows, the oldest count is 2.0s old"));
        assert!(hints(&look, "rowcount", "postgres://db").contains("kill -9 9 "));
    }
}
