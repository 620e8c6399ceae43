//! The shipped prompts: 64 OpenAI batch lines.

/// The first `count` of them.
pub(crate) fn first(count: usize) -> String {
    include_str!("prompts.jsonl").lines().take(count).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_shipped_prompts_can_be_run() {
        let (asks, bad) = crate::batch::parse(&super::first(usize::MAX));
        assert_eq!((asks.len(), bad.len()), (64, 0));
        assert!(asks.iter().all(|a| a.seed.is_some()), "a reference needs seeds");
    }
}
