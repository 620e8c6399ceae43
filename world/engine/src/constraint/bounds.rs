//! What a constraint may ask of its compiler. llguidance bounds its own work, but not the memory that it takes for
//! a text which has to be of many languages at once: a few kilobytes could take all there is. So these are counted
//! before. The rules are part of the dialect: they read nothing but the constraint.

use serde_json::Value;
use std::collections::BTreeMap;
use talkoo_base::{Constraint, ConstraintForm};

/// Languages that one text may have to be of at once: 50 take 0.1 s and 45 MB, 400 more than there is.
const PARTS_MAX: usize = 32;
/// Bytes of one regular expression: 32 KiB of `a?` take seconds and 500 MB.
const PATTERN_BYTES_MAX: usize = 4_096;
/// Bytes of a grammar, which may be one expression.
const GRAMMAR_BYTES_MAX: usize = 8_192;

/// Checks a constraint; a JSON schema is parsed already.
///
/// # Errors
/// What is too much of it.
pub(super) fn check(constraint: &Constraint, schema: Option<&Value>) -> Result<(), String> {
    let source = constraint.source.as_str();
    match constraint.form {
        ConstraintForm::JsonSchema => schema.map_or(Ok(()), |root| Schema { root, known: BTreeMap::new() }.check(root)),
        ConstraintForm::Regex => pattern(source),
        ConstraintForm::Lark => grammar(source),
    }
}

fn pattern(source: &str) -> Result<(), String> {
    let bytes = source.len();
    let too_long = || format!("a regular expression of {bytes} bytes, more than {PATTERN_BYTES_MAX}");
    if bytes > PATTERN_BYTES_MAX { Err(too_long()) } else { Ok(()) }
}

fn grammar(source: &str) -> Result<(), String> {
    if source.len() > GRAMMAR_BYTES_MAX {
        return Err(format!("a grammar of {} bytes, more than {GRAMMAR_BYTES_MAX}", source.len()));
    }
    if source.contains("%json") {
        return Err("a JSON schema within a grammar; give the schema itself".into());
    }
    // What is in all of several languages is what is in none of their opposites.
    let signs = source.matches(['&', '~']).count();
    let too_many = || format!("{signs} signs & and ~ in a grammar, more than {PARTS_MAX}");
    if signs > PARTS_MAX { Err(too_many()) } else { Ok(()) }
}

struct Schema<'a> {
    root: &'a Value,
    /// What references lead to, counted; nothing while it is being counted.
    known: BTreeMap<&'a str, Option<usize>>,
}

impl<'a> Schema<'a> {
    /// Every object is looked at as if it were a schema.
    fn check(&mut self, at: &'a Value) -> Result<(), String> {
        if self.parts(at, 0)? > PARTS_MAX {
            return Err(format!("more than {PARTS_MAX} schemas that one value has to fit at once"));
        }
        match at {
            Value::Object(fields) => {
                if let Some(Value::String(expression)) = fields.get("pattern") {
                    pattern(expression)?;
                }
                fields.values().try_for_each(|value| self.check(value))
            }
            Value::Array(list) => list.iter().try_for_each(|value| self.check(value)),
            _ => Ok(()),
        }
    }

    /// Schemas that a value has to fit at once: this one, all of `allOf`, what it refers to, and the most
    /// demanding of alternatives. Of a name, it has to fit or to miss every pattern of `patternProperties`.
    /// `depth`: how many schemas led here; each of them counts, so there are no more steps than parts.
    fn parts(&mut self, at: &'a Value, depth: usize) -> Result<usize, String> {
        let Value::Object(fields) = at else { return Ok(1) };
        if depth > PARTS_MAX {
            return Ok(PARTS_MAX + 1);
        }
        let list = |key: &str| fields.get(key).and_then(Value::as_array).into_iter().flatten();
        let mut sum = 1;
        for part in list("allOf") {
            sum += self.parts(part, depth + 1)?;
        }
        let mut most = 0;
        for part in list("anyOf")
            .chain(list("oneOf"))
            .chain(["if", "then", "else", "not"].iter().filter_map(|k| fields.get(*k)))
        {
            most = most.max(self.parts(part, depth + 1)?);
        }
        if let Some(Value::Object(patterns)) = fields.get("patternProperties") {
            patterns.keys().try_for_each(|expression| pattern(expression))?;
            sum += patterns.len();
        }
        if let Some(Value::String(name)) = fields.get("$ref") {
            sum += self.target(name, depth + 1)?;
        }
        Ok((sum + most).min(PARTS_MAX + 1))
    }

    fn target(&mut self, name: &'a str, depth: usize) -> Result<usize, String> {
        match self.known.get(name) {
            Some(Some(parts)) => return Ok(*parts),
            Some(None) => return Err(format!("the reference {name:?}, which leads back to itself")),
            None => {}
        }
        let target = name.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let target =
            target.ok_or_else(|| format!("the reference {name:?}, which is no JSON pointer into the schema"))?;
        self.known.insert(name, None);
        let parts = self.parts(target, depth)?;
        self.known.insert(name, Some(parts));
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(form: ConstraintForm, source: &str) -> Result<(), String> {
        let schema = (form == ConstraintForm::JsonSchema).then(|| serde_json::from_str(source).unwrap());
        check(&Constraint { form, source: source.into() }, schema.as_ref())
    }

    #[test]
    fn what_no_machine_should_compile_is_refused() {
        use ConstraintForm::{JsonSchema, Lark, Regex};
        let patterns = |count: usize| (0..count).map(|i| json!({"pattern": i.to_string()})).collect::<Vec<_>>();
        let keys = |count: usize| (0..count).map(|i| (i.to_string(), json!({}))).collect::<serde_json::Map<_, _>>();
        // Each refers twice to the next; and each adds a pattern to the next.
        let doubling: serde_json::Map<_, _> = (0..40)
            .map(|i| {
                (format!("d{i}"), json!({"allOf": vec![json!({"$ref": format!("#/$defs/d{}", (i + 1) % 41)}); 2]}))
            })
            .chain([("d40".into(), json!({"pattern": "x"}))])
            .collect();
        let chain: serde_json::Map<_, _> = (0..40)
            .map(|i| (format!("d{i}"), json!({"pattern": i.to_string(), "$ref": format!("#/$defs/d{}", i + 1)})))
            .chain([("d40".into(), json!({}))])
            .collect();
        let tree = json!({"$ref": "#/$defs/t", "$defs": {"t": {"properties": {"left": {"$ref": "#/$defs/t"}}}}});
        let schemas = [
            (json!({"type": "object", "properties": {"a": {"pattern": "a+"}, "b": {"anyOf": patterns(400)}}}), ""),
            (tree, ""),
            (json!({"allOf": patterns(31)}), ""),
            (json!({"allOf": patterns(32)}), "more than 32 schemas"),
            (json!({"items": {"allOf": patterns(400)}}), "more than 32 schemas"),
            (json!({"anyOf": [{"allOf": patterns(20)}, {"allOf": patterns(20)}]}), ""),
            (json!({"allOf": [{"allOf": patterns(20)}, {"allOf": patterns(20)}]}), "more than 32 schemas"),
            (json!({"$ref": "#/$defs/d0", "$defs": doubling}), "more than 32 schemas"),
            (json!({"$ref": "#/$defs/d0", "$defs": chain}), "more than 32 schemas"),
            (json!({"patternProperties": keys(20)}), ""),
            (json!({"patternProperties": keys(400)}), "more than 32 schemas"),
            (json!({"pattern": "a?".repeat(2_049)}), "4098 bytes"),
            (json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}), "back to itself"),
            (json!({"$ref": "other.json"}), "no JSON pointer"),
        ];
        let others = [
            (Regex, "(a|b)*".repeat(600), ""),
            (Regex, "a?".repeat(2_049), "4098 bytes"),
            (Lark, "start: /a/ & /b/".into(), ""),
            (Lark, format!("start: {}/a/", "/b/ & ".repeat(33)), "33 signs"),
            (Lark, format!("start: {}/a/", "~".repeat(33)), "33 signs"),
            (Lark, format!("start: %json {}", json!({"allOf": patterns(400)})), "within a grammar"),
            (Lark, format!("start: /{}/", "a?".repeat(4_096)), "more than 8192"),
        ];
        let schemas = schemas.into_iter().map(|(schema, want)| (JsonSchema, schema.to_string(), want));
        for (form, source, want) in schemas.chain(others) {
            let found = of(form, &source).err().unwrap_or_default();
            assert!(if want.is_empty() { found.is_empty() } else { found.contains(want) }, "{source:.200}: {found}");
        }
    }
}
