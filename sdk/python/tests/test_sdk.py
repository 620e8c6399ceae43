"""The client against a real node: TALKOO=path/to/talkoo python3 -m unittest discover -s tests."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "src"))
import talkoo  # noqa: E402


class Sdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="talkoo-sdk-")
        cls.node = talkoo.connect(cls.folder, flags=["--api", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0"])
        seen = []
        cls.node.pull("smollm2", on_progress=lambda done, total, source: seen.append(done))
        cls.node.pull("smollm2")

    @classmethod
    def tearDownClass(cls):
        cls.node.down()

    def test_a_running_node_is_found_and_no_second_one_started(self):
        again = talkoo.connect(self.folder, start=False)
        self.assertEqual(again.status()["node"], self.node.status()["node"])
        with self.assertRaises(talkoo.Error) as no:
            talkoo.connect(tempfile.mkdtemp(), start=False)
        self.assertEqual(no.exception.code, "disconnected")

    def test_a_chat_is_answered_whole_and_as_it_comes(self):
        whole = self.node.chat("What is the capital of Finland?", max_tokens=20)
        self.assertIn("Helsinki", whole)
        self.assertEqual(whole.finish, "stop")
        stream = self.node.stream("What is the capital of Finland?", max_tokens=20)
        self.assertEqual("".join(stream), whole)
        self.assertEqual(stream.usage["completion_tokens"], whole.usage["completion_tokens"])
        for answer in (whole, stream):
            self.assertRegex(talkoo.receipt(answer), r"^here · free · re-runnable · seed \d+$")

    def test_who_stops_reading_ends_the_work(self):
        stream = self.node.stream("Count to a thousand.", max_tokens=4000)
        next(iter(stream))
        stream.close()
        self.assertTrue(self.node.chat("Say hi", max_tokens=3))

    def test_a_batch_is_answered_in_order(self):
        bodies = [{"messages": [{"role": "user", "content": f"Say {n}"}], "max_tokens": 5} for n in range(12)]
        bodies[3]["temperature"] = 9
        batch = self.node.batch(bodies, model="smollm2").watch(timeout=120)
        results = batch.results()
        self.assertEqual([one.custom_id for one in results], [str(n) for n in range(12)])
        self.assertEqual((results[3].text, results[3].status), (None, 400))
        self.assertTrue(all(one.text and one.text.facts for n, one in enumerate(results) if n != 3))
        self.assertEqual(batch.counts, {"total": 12, "completed": 11, "failed": 1})
        self.assertIn(batch.id, [one.id for one in self.node.batches()])
        with self.assertRaises(talkoo.Error):
            self.node.batch([{"stream": True}]).watch(timeout=60)

    def test_errors_say_what_to_do(self):
        with self.assertRaises(talkoo.Error) as no:
            self.node.chat("hi", model="none")
        self.assertEqual((no.exception.code, no.exception.status), ("model_not_found", 404))
        with self.assertRaises(talkoo.Error) as no:
            self.node.chat("hi", temperature=9)
        self.assertEqual(no.exception.param, "temperature")
        with self.assertRaises(talkoo.Error) as no:
            talkoo.Node("127.0.0.1:9", "x").status()
        self.assertEqual(no.exception.code, "silent")

    def test_a_machine_that_provides_says_why_it_is_idle(self):
        self.assertTrue(any("offers no compute" in why for why in self.node.why_idle()))
        self.node.provide()
        self.assertTrue(self.node.get("/provide")["providing"])
        self.node.provide(False)

    def test_the_openai_package_asks_this_node(self):
        try:
            client = self.node.openai()
        except talkoo.Error as why:
            self.skipTest(str(why))
        chunks = client.chat.completions.create(
            model="smollm2", messages=[{"role": "user", "content": "What is the capital of Finland?"}], stream=True, max_tokens=20)
        last, text = None, ""
        for chunk in chunks:
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            last = chunk
        self.assertIn("Helsinki", text)
        self.assertIn("here", talkoo.receipt(last))


if __name__ == "__main__":
    unittest.main()
