use super::*;
use proptest::prelude::*;

/// The example of the specification, and rules as other writers wrote them.
const LIST: &str = "\
version: 1
name: 'Example IPFSCorp blocking list'
author: abuse-ipfscorp@example.com
hints:
  hint: value
  hint2: value2
---
# Blocking by CID is codec-agnostic
/ipfs/bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq code:451 reason:law

/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2/test*
/ipfs/QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC/test/*
/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked*
!/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blockednot
+/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked/not
!/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked/exceptions*
/ipfs/QmecDgNqCRirkc3Cjz9eoRBNwXGckJ9WvTdmY16HP88768/a%20b/c
/ipns/domain.example
/ipns/domain2.example/path
/ipns/k51qzi5uqu5dhmzyv3zac033i7rl9hkgczxyl81lwoukda2htteop7d3x0y1mf
!/ipns/my.domain
/ipns/my.domain
//QmX9dhRcQcKUw3Ws8485T5a9dtjrSCQaUAHnG4iK9i4ceM
//QmSju6XPmYLG611rmK7rEeCMFVuL6EHpqyvmEU6oGx3GR8
//d9d295bde21f422d471a90f2a37ec53049fdf3e5fa3ee2e8f20e10003da429e7
//3f8b9febd851873b3774b937cce126910699ceac56e72e64b866f8e258d09572
//c555c4de78827ba42527dd3dc5398db38d6c0a8c345a88e0158b2d100f317e50
//gW813G35CnLsy7gRYYHuf63hrz71U1xoLFDVeV7actx6oX
this is no rule
/ipfs/nor-is-this
/ftp/QmecDgNqCRirkc3Cjz9eoRBNwXGckJ9WvTdmY16HP88768
";

#[test]
fn the_last_rule_that_matches_counts() {
    let list = Denylist::parse(LIST).unwrap();
    assert_eq!((list.name.as_str(), list.malformed, list.len()), ("Example IPFSCorp blocking list", 4, 18));
    assert_eq!(list.hints["hint2"], "value2");
    const EXCEPT: &str = "QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK";
    const LEGACY: &str = "bafybeiefwqslmf6zyyrxodaxx4vwqircuxpza5ri45ws3y5a62ypxti42e";
    let cases = [
        ("bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq", "", true),
        ("bafkreihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq", "", true),
        ("bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq", "path", false),
        ("Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2", "testing/x", true),
        ("Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2", "tes", false),
        ("QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC", "/test/", true),
        ("QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC", "", false),
        (EXCEPT, "blocked", true),
        (EXCEPT, "blockednot", false),
        (EXCEPT, "blocked/not", false),
        (EXCEPT, "blocked/notable", true),
        (EXCEPT, "blocked/exceptions/x", false),
        ("bafybeihrw75yfhdx5qsqgesdnxejtjybscwuclpusvxkuttep6h7pkgmze", "a b/c", true),
        ("bafybeidjwik6im54nrpfg7osdvmx7zojl5oaxqel5cmsz46iuelwf5acja", "", true),
        ("QmVTF1yEejXd9iMgoRTFDxBv7HAz9kuZcQNBzHrceuK9HR", "", true),
        ("QmVTF1yEejXd9iMgoRTFDxBv7HAz9kuZcQNBzHrceuK9HR", "x", false),
        ("bafybeihrw75yfhdx5qsqgesdnxejtjybscwuclpusvxkuttep6h7pkgmze", "my/path", true),
        (LEGACY, "", true),
        (LEGACY, "path", true),
        (LEGACY, "path2", false),
        ("bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e", "", false),
    ];
    for (cid, path, is_blocked) in cases {
        assert_eq!(list.blocks(&cid.parse().unwrap(), path).is_some(), is_blocked, "{cid}/{path}");
    }
    let names = [
        ("domain.example", "", true),
        ("DOMAIN.example", "", true),
        ("domain.example", "x", false),
        ("domain2.example", "path", true),
        ("k51qzi5uqu5dhmzyv3zac033i7rl9hkgczxyl81lwoukda2htteop7d3x0y1mf", "", true),
        ("my.domain", "", true),
        ("bad-domain-name.tld", "", true),
        ("other.example", "", false),
    ];
    for (name, path, is_blocked) in names {
        assert_eq!(list.blocks_name(name, path).is_some(), is_blocked, "{name}/{path}");
    }
    let rule = list.blocks(&cases[0].0.parse().unwrap(), "").unwrap();
    assert_eq!((rule.line, &rule.hints[0], rule.hints.len()), (9, &("code".to_owned(), "451".to_owned()), 2));
}

#[test]
fn headers_may_be_missing_strange_or_too_large() {
    let rule = "/ipfs/QmecDgNqCRirkc3Cjz9eoRBNwXGckJ9WvTdmY16HP88768\n";
    assert_eq!(Denylist::parse(rule).unwrap().len(), 1);
    assert_eq!(Denylist::parse(&format!("---\n{rule}")).unwrap().len(), 1);
    assert_eq!(Denylist::parse(&format!("custom: [x]\n---\r\n{rule}")).unwrap().malformed, 0);
    let version = Denylist::parse(&format!("version: 2\n---\n{rule}"));
    assert_eq!(version, Err(DenylistError::Version { version: "2".to_owned() }));
    let large = Denylist::parse(&format!("name: {}\n---\n{rule}", "x".repeat(1 << 20))).unwrap();
    assert_eq!((large.len(), large.malformed), (1, 2));
    let long = "x".repeat(DENYLIST_LINE_BYTES_MAX + 1);
    assert_eq!(Denylist::parse(&format!("{rule}{long}\n")), Err(DenylistError::LineTooLong { line: 2 }));
    assert_eq!(Denylist::parse("").unwrap(), Denylist::default());
}

proptest! {
    #[test]
    fn random_text_never_panics(text in "[/!+#: *%a-zQm0-9\n-]{0,200}", path in ".{0,20}") {
        let cid = "QmecDgNqCRirkc3Cjz9eoRBNwXGckJ9WvTdmY16HP88768";
        let list = Denylist::parse(&format!("/ipfs/{cid}/{text}")).unwrap_or_default();
        let _ = (list.blocks(&cid.parse().unwrap(), &path), list.blocks_name(&path, &text));
    }
}
