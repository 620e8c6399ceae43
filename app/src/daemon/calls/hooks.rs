//! Webhooks: who is told what becomes of work that nobody waits for.

use super::{Answer, Daemon, optional, required};
use serde_json::{Value, json};

/// Names of events, as an argument has them.
fn events_of(list: &Value) -> Result<Vec<String>, &'static str> {
    let no = "a list of events' names";
    let text = |one: &Value| one.as_str().map(str::to_owned).ok_or(no);
    list.as_array().ok_or(no)?.iter().map(text).collect()
}

impl Daemon {
    pub(super) fn webhooks(&self, name: &str, args: &Value) -> Answer {
        let hooks = &self.hooks;
        match name {
            "webhook_add" => {
                let events = optional(args, "events", events_of)?.unwrap_or_default();
                let (hook, secret) = hooks.create(required(args, "url")?, events)?;
                let mut value = hooks.shown(&hook);
                value["secret"] = json!(secret);
                Ok(value)
            }
            "webhook_remove" => hooks.remove(required(args, "id")?).map(|()| json!({"removed": true})),
            "webhook_test" => hooks.test(required(args, "id")?).map(|event| json!({"event": event})),
            _ => Ok(json!({"webhooks": hooks.all().iter().map(|hook| hooks.shown(hook)).collect::<Vec<_>>()})),
        }
    }
}
