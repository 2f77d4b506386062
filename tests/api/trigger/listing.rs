//! ListCollections.

use rustix::process::Signal;
use tonic::Code;

use super::{Client, LONG, fleet, list, request, settled, trigger};
use crate::fleet::eventually;

/// Every id, page by page.
async fn pages(client: &mut Client, size: i32) -> Vec<String> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let (page, next) = list(client, size, &token).await;
        assert!(page.len() == usize::try_from(size).unwrap() || (next.is_empty() && !page.is_empty()));
        all.extend(page);
        if next.is_empty() {
            return all;
        }
        token = next;
    }
}

#[tokio::test]
async fn the_list_is_newest_first_in_pages_the_same_everywhere_and_outlives_its_holder() {
    let mut fleet = fleet().await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "2s");
    let (mut a, mut b) = tokio::join!(fleet.instance("a"), fleet.instance("b"));
    let holds_a = settled(&fleet, &[&a, &b]).await.id == a.id;
    let (holder, standby) = if holds_a { (&mut a, &b) } else { (&mut b, &a) };
    let (mut asked, mut others) = tokio::join!(holder.client(), standby.client());

    let mut made = Vec::new();
    for turn in 0..7 {
        let client = if turn % 2 == 0 { &mut asked } else { &mut others };
        made.insert(0, trigger(client, request(&["calls"], LONG)).await.unwrap().0.collection_id);
    }
    let (all, last_page) = list(&mut asked, 0, "").await;
    assert_eq!((&all[..7], last_page.as_str()), (&made[..], ""), "newest first");
    assert_eq!(all.len(), 8, "and the one of the new holder");
    for client in [&mut asked, &mut others] {
        eventually("the others have heard of it", async || (list(client, 0, "").await.0 == all).then_some(())).await;
        assert_eq!(pages(client, 3).await, all);
        assert_eq!(pages(client, 8).await, all);
    }
    let (first_page, token) = list(&mut others, 3, "").await;
    assert_eq!(first_page, all[..3]);

    holder.signal(Signal::KILL);
    holder.exit().await;
    settled(&fleet, &[standby]).await;
    assert_eq!(list(&mut others, 5, &token).await, (all[3..].to_vec(), String::new()), "a page goes on where it was");
    let (after, _) = list(&mut others, 0, "").await;
    assert_eq!(after[after.len() - all.len()..], all, "nothing is forgotten");

    for (size, token) in [(-1, ""), (0, "the next one")] {
        let wrong = rowcount::proto::v1::ListCollectionsRequest { page_size: size, page_token: token.to_owned() };
        assert_eq!(others.list_collections(wrong).await.unwrap_err().code(), Code::InvalidArgument);
    }
}
