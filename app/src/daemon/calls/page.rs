//! Lists that are told page by page.

use super::{bad, optional, text};
use serde_json::{Value, json};
use talkoo_base::Refusal;

/// Entries of a page at most.
const PAGE_MAX: u64 = 200;

/// Entries that are wanted; `usual` if it is not said.
pub(super) fn limit(args: &Value, usual: usize) -> Result<usize, Refusal> {
    let read = |value: &Value| value.as_u64().filter(|n| (1..=PAGE_MAX).contains(n)).ok_or("a number from 1 to 200");
    Ok(optional(args, "limit", read)?.map_or(usual, |n| n as usize))
}

/// Where the page begins.
pub(super) fn cursor(args: &Value) -> Option<&str> {
    text(args, "cursor")
}

/// A cursor that is a number.
pub(super) fn number(args: &Value) -> Result<Option<u64>, Refusal> {
    cursor(args).map(|cursor| cursor.parse().map_err(|_| odd(cursor))).transpose()
}

/// Of a cursor that nobody gave, or whose entry is gone.
pub(super) fn odd(cursor: &str) -> Refusal {
    bad(format!("no page begins at the `cursor` {cursor:?}"), "begin anew, without a cursor")
}

/// The page of `all` behind the entry that the cursor names, and the cursor of the next.
pub(super) fn page<'a, T>(
    args: &Value,
    usual: usize,
    mut all: impl Iterator<Item = &'a T>,
    id: impl Fn(&T) -> String,
) -> Result<(Vec<&'a T>, Value), Refusal> {
    let most = limit(args, usual)?;
    if let Some(cursor) = cursor(args)
        && !all.by_ref().any(|one| id(one) == cursor)
    {
        return Err(odd(cursor));
    }
    let page: Vec<&T> = all.by_ref().take(most).collect();
    let next = page.last().filter(|_| all.next().is_some()).map_or(Value::Null, |one| json!(id(one)));
    Ok((page, next))
}

#[cfg(test)]
mod tests {
    use super::page;
    use serde_json::{Value, json};

    #[test]
    fn pages_follow_one_another_and_end() {
        let all = [1, 2, 3, 4, 5];
        let ask = |args: &Value| page(args, 2, all.iter(), i32::to_string);
        let (mut told, mut args) = (Vec::new(), json!({}));
        loop {
            let (rows, next) = ask(&args).unwrap();
            told.push(rows.into_iter().copied().collect::<Vec<_>>());
            if next.is_null() {
                break;
            }
            args = json!({"cursor": next});
        }
        assert_eq!(told, [vec![1, 2], vec![3, 4], vec![5]]);
        assert_eq!(ask(&json!({"limit": 5})).unwrap().1, Value::Null);
        assert!(ask(&json!({"cursor": "9"})).unwrap_err().message.contains("no page"));
        for limit in [json!(0), json!(201), json!("2")] {
            assert!(ask(&json!({"limit": limit})).is_err(), "{limit}");
        }
    }
}
