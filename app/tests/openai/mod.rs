//! A tiny server that speaks OpenAI's completions, as well or as badly as a test wants.

#![allow(dead_code, reason = "each of the tests that share it uses a part")]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};

/// What it answers.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Parts of the body, each sent on its own.
    pub(crate) parts: Vec<String>,
    pub(crate) then: Then,
}

/// What comes after the parts.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Then {
    /// The end of the body.
    End,
    /// The connection breaks.
    Break,
    /// Nothing, until the other side closes.
    Hang,
}

/// The bodies of completions that were asked for, and the authorization that came with them.
pub(crate) type Asked = Arc<Mutex<Vec<(Value, Option<String>)>>>;

/// A server; its threads end with the process.
pub(crate) struct OpenAi {
    pub(crate) url: String,
    pub(crate) asked: Asked,
    /// Tells when a client closed a connection that hung.
    pub(crate) closed: mpsc::Receiver<()>,
}

/// A stream of completions of these texts, ended by `finish`.
pub(crate) fn stream(texts: &[&str], finish: &str) -> Reply {
    let event = |text: &str, finish: Value| {
        let choice = json!({"index": 0, "text": text, "finish_reason": finish});
        format!("data: {}\n\n", json!({"object": "text_completion", "choices": [choice]}))
    };
    let mut parts: Vec<String> = texts.iter().map(|text| event(text, Value::Null)).collect();
    parts.push(event("", json!(finish)));
    parts.push("data: [DONE]\n\n".to_owned());
    Reply { status: 200, parts, then: Then::End }
}

/// A refusal, the way OpenAI words it.
pub(crate) fn refusal(status: u16, message: &str) -> Reply {
    Reply { status, parts: vec![json!({"error": {"message": message}}).to_string()], then: Then::End }
}

impl OpenAi {
    /// Starts one that answers each completion as `answer` says of its body.
    pub(crate) fn start(answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, (close, closed)) = (Asked::default(), mpsc::channel());
        let (answer, seen) = (Arc::new(answer), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, seen, close) = (answer.clone(), seen.clone(), close.clone());
                std::thread::spawn(move || serve(stream, &*answer, &seen, &close));
            }
        });
        Self { url, asked, closed }
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&Value) -> Reply, seen: &Asked, close: &mpsc::Sender<()>) {
    let Some((path, body, key)) = request(&stream) else { return };
    let reply = match path.as_str() {
        "/v1/models" => {
            let list = json!({"data": [{"id": "tiny", "max_model_len": 2_000}]}).to_string();
            Reply { status: 200, parts: vec![list], then: Then::End }
        }
        "/v1/completions" => {
            seen.lock().unwrap().push((body.clone(), key));
            answer(&body)
        }
        _ => refusal(404, "no such path"),
    };
    let head = format!("HTTP/1.1 {} Said\r\ntransfer-encoding: chunked\r\n\r\n", reply.status);
    stream.write_all(head.as_bytes()).ok();
    for part in &reply.parts {
        if stream.write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).is_err() {
            return;
        }
    }
    match reply.then {
        Then::End => drop(stream.write_all(b"0\r\n\r\n")),
        Then::Break => {}
        Then::Hang => {
            while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
            close.send(()).ok();
        }
    }
}

/// Path, body and authorization of a request.
fn request(stream: &TcpStream) -> Option<(String, Value, Option<String>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut key) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim().split_once(": ") {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => key = Some(value.to_owned()),
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, serde_json::from_slice(&body).unwrap_or_default(), key))
}
