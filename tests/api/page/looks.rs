//! How the page looks to whom: on a phone, in the dark, without a mouse, to a screen reader.

use serde_json::json;

use super::{browser::Browser, shows, url};
use crate::fleet::Fleet;

/// For every text that is seen: its contrast, when it is less than what WCAG asks for at AA.
const FAINT: &str = r#"
    const numbers = (color) => color.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
        .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (node) => {
        const color = numbers(getComputedStyle(node).backgroundColor);
        return color.length === 4 && color[3] === 0 ? ground(node.parentElement) : color;
    };
    const faint = [];
    let checked = 0;
    for (const node of document.querySelectorAll("body *")) {
        const hasText = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
        if (!hasText || node.getClientRects().length === 0) continue;
        const [a, b] = [light(numbers(getComputedStyle(node).color)), light(ground(node))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        checked += 1;
        if (contrast < 4.5) faint.push(`${node.tagName} ${node.className} ${node.textContent}: ${contrast}`);
    }
    return {faint, checked, ground: light(ground(document.body))};
"#;

#[tokio::test]
async fn the_page_is_readable_on_a_phone_and_in_the_dark_and_stands_still() {
    let Some(browser) = Browser::start().await else { return };
    let mut fleet = Fleet::start().await;
    // As long as a name can be.
    let long = format!("ROWCOUNT_QUERIES_{}_SQL", "LONG_NAME_".repeat(6) + "END");
    fleet.set(long.leak(), "SELECT count(no_such_column_of_a_table) FROM tags");
    fleet.set("ROWCOUNT_QUERIES_STALE_SQL", "SELECT count(*) FROM brief");
    fleet.sql("CREATE TABLE brief (n int)").await;
    let instance = fleet.instance(&"instance-of-a-long-name-".repeat(3)).await;
    browser.resize(360, 740, true).await;
    browser.open(&url(&instance)).await;
    shows(&browser, "all is counted", |page| {
        let counts = page["counts"].as_object().unwrap();
        counts.len() > 10 && counts.values().all(|count| count["value"] != "–" || count["reason"] != "")
    })
    .await;
    fleet.sql("DROP TABLE brief").await;
    shows(&browser, "one is stale", |page| page["counts"]["stale"]["stale"] == "stale").await;

    for (width, mobile) in [(360, true), (320, true), (768, false), (1280, false)] {
        browser.resize(width, 740, mobile).await;
        // A phone widens its view for what does not fit.
        let fits = "const width = document.documentElement.scrollWidth; return [innerWidth, width <= innerWidth]";
        assert_eq!(browser.run(fits).await, json!([width, true]), "nothing is to the right of the screen");
    }
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        for (width, mobile) in [(360, true), (1280, false)] {
            browser.resize(width, 740, mobile).await;
            let found = browser.run(FAINT).await;
            assert_eq!(found["faint"], json!([]), "{scheme}");
            assert!(found["checked"].as_u64() > Some(100), "{found}");
            grounds.push(found["ground"].as_f64().unwrap());
        }
    }
    assert!(grounds[0] > 0.8 && grounds[2] < 0.05, "{grounds:?}");

    // Whoever hears the page instead of seeing it, or has no mouse.
    let unnamed = "return [...document.querySelectorAll('table, section, nav, dialog, input, button')]
        .filter((node) => !(node.ariaLabel || node.getAttribute('aria-labelledby') || node.labels?.[0] || node.textContent))
        .map((node) => node.outerHTML)";
    assert_eq!(browser.run(unnamed).await, json!([]));
    let heads = "return [...document.querySelectorAll('table')].map((table) => [table.caption.textContent !== '',
        [...table.querySelectorAll('thead th')].every((head) => head.scope === 'col')])";
    assert_eq!(browser.run(heads).await, json!([[true, true], [true, true]]));

    // From the blank page on, over a few answers.
    browser.open(&url(&instance)).await;
    browser
        .run(
            "window.moved = []; window.answers = 0;
             const place = ({node, previousRect: from, currentRect: to}) =>
                 `${node?.outerHTML ?? node?.textContent} from ${from.x},${from.y} to ${to.x},${to.y}`;
             const add = (list) => list.getEntries().forEach((entry) => window.moved.push(...entry.sources.map(place)));
             new PerformanceObserver(add).observe({type: 'layout-shift', buffered: true});
             const count = (list) => (window.answers += list.getEntries().filter((one) => one.name.includes('/status')).length);
             new PerformanceObserver(count).observe({type: 'resource', buffered: true});",
        )
        .await;
    browser.until("it has asked four times", "return window.answers >= 4").await;
    assert_eq!(browser.run("return window.moved").await, json!([]));
    assert_eq!(browser.complaints(|_| false).await, [""; 0]);
}
