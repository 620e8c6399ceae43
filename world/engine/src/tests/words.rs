//! Tokenizer, decoder and template on the tiny vocabulary.

use crate::testing::{Shape, load_bytes};
use crate::{ChatMessage, TemplateError, Vocabulary};

fn vocabulary() -> Vocabulary {
    Shape::small(1).load().vocabulary().clone()
}

fn message(role: &str, content: &str) -> ChatMessage {
    ChatMessage { role: role.into(), content: content.into() }
}

#[test]
fn merges_go_by_rank() {
    let v = vocabulary();
    let names = |text: &str| v.encode(text, true).iter().map(|t| v.decode(&[*t])).collect::<Vec<_>>();
    assert_eq!(names("abcab"), ["abc", "ab"]);
    assert_eq!(names("aabc1"), ["a", "abc", "1"]);
    assert_eq!(v.encode("<s>ab</s>", true), [0, 2, 1]);
    assert_eq!(v.encode("<s>", false).len(), 3, "strangers' words are no control tokens");
    assert!(v.encode("", true).is_empty());
    assert_eq!(v.encode_prompt("ab"), [2]);
}

#[test]
fn long_pieces_do_not_take_forever() {
    let text = "ab".repeat(200_000);
    assert_eq!(vocabulary().encode(&text, true).len(), 200_000);
}

#[test]
fn control_tokens_are_not_shown() {
    let v = vocabulary();
    assert_eq!(v.decode(&[0, 2, 1, 3, 999_999]), "ababc");
    assert_eq!(v.piece(0), b"");
}

#[test]
fn templates_render_and_fail_with_types() {
    let v = vocabulary();
    assert_eq!(v.render_chat(&[message("user", " hi ")]).unwrap(), "<s>user: hi</s>\n<s>");
    let with = |template: &str| {
        let old = "{% for m in messages %}<s>{{ m.role }}: {{ m.content | trim }}</s>\n{% endfor %}<s>";
        let bytes = Shape::small(1).gguf();
        let at = bytes.windows(old.len()).position(|w| w == old.as_bytes()).unwrap();
        let mut new = template.to_owned();
        assert!(new.len() + 4 <= old.len(), "{template}");
        new += &format!("{{#{}#}}", " ".repeat(old.len() - new.len() - 4));
        let mut bytes = bytes;
        bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
        load_bytes(&bytes).unwrap().vocabulary().render_chat(&[message("user", "x")])
    };
    assert!(matches!(with("{{ raise_exception('no way') }}"), Err(TemplateError::Refused(m)) if m == "no way"));
    assert!(matches!(with("{{ nothing() }}"), Err(TemplateError::Failed(_))));
    assert!(matches!(
        with("{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}"),
        Err(TemplateError::Failed(_))
    ));
    assert!(matches!(with("{% if"), Err(TemplateError::Failed(_))));
    assert_eq!(with("{{ bos_token }}{{ messages[0]['content'].upper() }}{{ eos_token }}").unwrap(), "<s>X</s>");
}
