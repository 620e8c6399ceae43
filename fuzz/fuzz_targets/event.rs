//! An event of the journal: one spelling, and folding it never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use talkoo_job::Jobs;
use talkoo_node::Event;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(event) = Event::from_bytes(bytes) {
        assert_eq!(event.to_bytes(), bytes);
        if let Event::Job(event) = &event {
            let mut jobs = Jobs::default();
            jobs.apply(event);
            jobs.apply(event);
        }
    }
});
