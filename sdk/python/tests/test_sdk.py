"""The client against a real node: TALKOO=path/to/talkoo python3 -m unittest discover -s tests."""

import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
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

    def test_a_machine_is_its_owner_s_first(self):
        hour = time.localtime().tm_hour
        never = f"{(hour + 12) % 24}:00-{(hour + 13) % 24}:00"
        told = self.node.provide(price=(0.1, 0.5), hours=never, idle_only=True, celsius_max=78)
        self.assertEqual(told["limits"], {"hours": [never], "idle_only": 20, "mains_only": False, "celsius_max": 78, "reclaim_s": 10})
        self.assertEqual(told["prices"], ["100000", "500000"])
        self.assertIn("outside the owner's hours", " ".join(self.until_why("hours")))
        self.node.provide(hours=[])
        self.assertEqual(self.node.get("/provide")["limits"]["hours"], [])
        with self.assertRaises(TypeError):
            self.node.provide(colour="red")
        for asked in ({"gpu": "all"}, {"vram": "80%"}):
            with self.assertRaises(talkoo.Error) as no:
                self.node.provide(**asked)
            self.assertEqual(no.exception.code, "unsupported")
            self.assertIn("processors", str(no.exception))
        with self.assertRaises(talkoo.Error) as no:
            self.node.provide(hours="soon")
        self.assertEqual(no.exception.code, "malformed")
        self.node.provide(False)

    def until_why(self, word, within=30):
        """The machine is looked at every five seconds."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            reasons = self.node.why_idle()
            if any(word in reason for reason in reasons):
                return reasons
            time.sleep(0.1)
        self.fail(f"no reason names {word} after {within} s")

    def test_a_dataset_is_mapped_row_by_row(self):
        folder = pathlib.Path(tempfile.mkdtemp())
        words = ["a kitten", "a young cat", "the stock market", "shares and bonds", "rain"]
        (folder / "words.csv").write_text("n,text\n" + "".join(f"{n},{word}\n" for n, word in enumerate(words)))
        (folder / "words.jsonl").write_text("".join(json.dumps({"text": word}) + "\n" for word in words))
        out = folder / "vectors.jsonl"
        job = self.node.map("embed", folder / "words.csv", column="text", shard=2, out=out).watch(timeout=300)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual([row["text"] for row in rows], words)
        dot = lambda a, b: sum(x * y for x, y in zip(rows[a]["embedding"], rows[b]["embedding"]))  # noqa: E731
        self.assertGreater(dot(0, 1), dot(0, 2))
        self.assertEqual((job.batch.counts["total"], len(rows[0]["embedding"])), (3, 384))
        same = self.node.embed(words)
        self.assertEqual(same[4], rows[4]["embedding"])
        told = self.node.map("chat", ["What is the capital of Finland?", "What is the capital of Japan?"], max_tokens=20).watch(timeout=300)
        self.assertIn("Helsinki", told.rows()[0])
        self.assertEqual(told.rows()[1], self.node.chat("What is the capital of Japan?", max_tokens=20))
        self.assertEqual((told.cost, told.nodes, told.verified), ("0", 1, 0.0))
        for source, more, says in [
            (folder / "words.csv", {}, "column"),
            (folder / "words.jsonl", {"column": "title"}, "no text in column"),
            (folder / "words.xml", {"column": "text"}, "no kind that is read"),
            (["x"], {"out": "x.xml"}, "no kind that is written"),
            ([], {}, "no text"),
        ]:
            with self.assertRaises(talkoo.Error) as no:
                self.node.map("embed", source, **more)
            self.assertIn(says, str(no.exception))

    def test_data_is_sealed_and_offered_for_sale(self):
        songs = pathlib.Path(tempfile.mkdtemp()) / "songs.txt"
        songs.write_text("the song of the crane\n")
        terms = {"name": "songs", "title": "Songs of cranes", "license": "CC-BY-4.0", "purposes": ["research"], "price": "2.50 TLK"}
        self.assertIn("Songs of cranes", json.dumps(self.node.data.preview(songs, **terms)))
        published = self.node.data.publish(songs, **terms)
        shown = self.node.data.show(published.asset)
        self.assertEqual((shown["manifest"], shown["offers"][0]["price"]), (published.cid, "2500000"))
        published.price("3")
        self.assertEqual([one["price"] for one in self.node.data.show(published.asset)["offers"] if one["open"]], ["3000000"])
        self.assertEqual(published.requests(), [])
        self.assertNotIn("crane\n", json.dumps(self.node.data.list()))
        for price in (2.5, "1.0000001", "-1", "much", "NaN"):
            with self.assertRaises(talkoo.Error) as no:
                self.node.data.publish(songs, price=price)
            self.assertIn("no amount", str(no.exception))
        with self.assertRaises(talkoo.Error):
            self.node.data.buy(77)
        with self.assertRaises(talkoo.Error) as no:
            self.node.data.publish(songs, price="1", access=[talkoo.Price.download("2")])
        self.assertIn("two prices", str(no.exception))

    def test_the_openai_package_asks_this_node(self):
        try:
            client = self.node.openai()
        except talkoo.Error as why:
            self.skipTest(str(why))
        chunks = client.chat.completions.create(
            model="smollm2", messages=[{"role": "user", "content": "What is the capital of Finland?"}], stream=True, max_tokens=20)
        text = "".join((chunk.choices[0].delta.content or "") if chunk.choices else "" for chunk in chunks)
        self.assertIn("Helsinki", text)
        self.assertRegex(talkoo.receipt(chunks), r"^here · free · re-runnable · seed \d+$")


class Network(unittest.TestCase):
    """Two nodes: what is asked of one, the other answers for pay."""

    @classmethod
    def setUpClass(cls):
        flags = ["--network", "sdk", "--api", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0"]
        cls.worker = talkoo.connect(tempfile.mkdtemp(prefix="talkoo-sdk-"), flags=[*flags, "--provide", "--pull", "smollm2"])
        at = cls.worker.status()["listen"][0]
        cls.client = talkoo.connect(tempfile.mkdtemp(prefix="talkoo-sdk-"), flags=[*flags, "--bootstrap", at, "--keep-prompts", "3"])
        for model in ("smollm2", "all-minilm-l6-v2"):
            cls.client.pull(model)
            cls.worker.pull(model)
        end = time.monotonic() + 120
        # A worker offers a model once it has measured itself with it.
        while not any(peer["offers"] == 2 for peer in cls.client.get("/peers")["peers"]):
            if time.monotonic() > end:
                raise AssertionError("the worker offers nothing")
            time.sleep(0.2)

    @classmethod
    def tearDownClass(cls):
        cls.client.down()
        cls.worker.down()

    def test_a_chat_goes_through_the_network_and_says_for_what(self):
        try:
            client = self.client.openai()
        except talkoo.Error as why:
            self.skipTest(str(why))
        stream = client.chat.completions.create(
            model="smollm2", stream=True, max_tokens=40, messages=[{"role": "user", "content": "Why do geese fly in a V?"}],
            extra_body={"provider": {"sort": "price", "max_price": {"completion": "0.40"}, "verify": "spot"}})
        text = "".join((chunk.choices[0].delta.content or "") if chunk.choices else "" for chunk in stream)
        self.assertEqual(text, self.client.chat("Why do geese fly in a V?", max_tokens=40))
        self.assertRegex(talkoo.receipt(stream), r"^[0-9a-f]{12} · 0\.0000\d+ tokens · re-run(nable until \d{4}-\d\d-\d\d| matched) · seed \d+ · .+")

    def test_an_answer_says_until_when_it_can_be_computed_again(self):
        begin = time.time()
        answer = self.client.chat("Why do cranes dance?", max_tokens=20, provider={"sort": "price", "verify": "none"})
        until = answer.facts["rerunnable_until"]
        self.assertTrue(begin + 3 * 86_400 - 1 <= until <= time.time() + 3 * 86_400, until)
        day = time.strftime("%Y-%m-%d", time.gmtime(until))
        badge = "re-run matched" if answer.facts["audited"] else f"re-runnable until {day}"
        self.assertIn(f" · {badge} · ", talkoo.receipt(answer))
        name = answer.facts["receipt"].removeprefix("receipts/").removesuffix(".receipt")
        row = next(one for one in self.client.get("/receipts")["receipts"] if one["id"] == name)
        # The file was written a moment before the answer ended.
        self.assertTrue(row["disclosed"] and 0 <= until - row["rerunnable_until"] <= 60, row)
        self.assertEqual(self.client.get(f"/receipts/{name}")["rerunnable_until"], row["rerunnable_until"])
        file = pathlib.Path(self.client.folder) / answer.facts["receipt"]
        shown = lambda *words: json.loads(subprocess.run([talkoo._node.program(), "--data-dir", self.client.folder, "-o", "json", "receipt", *words], capture_output=True, check=True).stdout)  # noqa: E731
        told = shown("verify", str(file))["receipts"][0]
        self.assertEqual(told["rerunnable_until"], row["rerunnable_until"])
        self.assertTrue(told["badge"].startswith("re-run matched") or told["badge"] == f"re-runnable until {time.strftime('%Y-%m-%d', time.gmtime(row['rerunnable_until']))}")
        # A copy elsewhere is nobody's to erase, and one that discloses nothing cannot be computed again.
        copy, bare = pathlib.Path(tempfile.mkdtemp()) / "copy.receipt", pathlib.Path(tempfile.mkdtemp()) / "bare.receipt"
        copy.write_bytes(file.read_bytes())
        shown("strip", str(file), str(bare))
        self.assertEqual([shown("show", str(one))["receipts"][0]["rerunnable_until"] for one in (copy, bare)], [None, None])

    def test_a_map_is_paid_and_says_by_how_many_it_was_answered(self):
        job = self.client.map("chat", [f"Name a bird with {letter}." for letter in "abcd"], max_tokens=20, provider={"sort": "throughput", "verify": "own"})
        job.watch(timeout=300)
        self.assertEqual((job.nodes, len(job.rows())), (1, 4))
        self.assertGreater(float(job.cost), 0)
        self.assertGreater(job.verified, 0)
        self.assertGreater(float(self.worker.earned), 0)
        # All of it came since the node began to count.
        told = self.worker.earnings(days=3)
        self.assertEqual((told["sum"]["inference"], told["sum"]["total"], len(told["days"])), (self.worker.earned, self.worker.earned, 3))
        self.assertEqual({row["data"] for row in told["days"]}, {"0.000000"})
        self.assertEqual(float(self.client.earnings(days=1)["sum"]["total"]), 0)
        with self.assertRaises(talkoo.Error):
            self.worker.earnings(days=367)

    def test_a_dataset_is_embedded_by_the_network(self):
        words = [f"goose number {n}" for n in range(40)]
        folder = pathlib.Path(tempfile.mkdtemp())
        (folder / "reviews.jsonl").write_text("".join(json.dumps({"text": word}) + "\n" for word in words))
        job = self.client.map("embed", folder / "reviews.jsonl", column="text", model="all-minilm-l6-v2",
                              shard=16, redundancy=0.05, budget="1.50 TLK", out=folder / "reviews_emb.jsonl")
        job.watch(timeout=300)
        self.assertEqual(job.rows(), self.client.embed(words))
        self.assertEqual((job.nodes, job.batch.counts["total"], len(job.result())), (1, 3, 40))
        self.assertGreater(float(job.cost), 0)
        self.assertGreaterEqual(job.verified, 2 / 40)
        self.assertEqual([key for key in self.client.get("/keys")["keys"] if not key["revoked"] and key["name"].startswith("map ")], [])
        # One that is found false stays so, however often it is looked at.
        job = self.client.map("embed", words[:8], shard=4, redundancy=1)
        job._bodies = [{name: value for name, value in body.items() if name != "provider"} for body in job._bodies]
        job.batch.watch(timeout=300)
        was = job._read()[1].body["data"][2]["embedding"]
        was[7] += 1
        for _ in range(2):
            with self.assertRaises(talkoo.Error) as no:
                job.watch(timeout=300)
            self.assertEqual((no.exception.code, "text 6 " in str(no.exception)), ("answer_refuted", True))
        was[7] -= 1
        self.assertEqual(job.watch(timeout=300).verified, 1)
        # What the budget does not pay is refused by name.
        job = self.client.map("embed", words, shard=16, budget="0")
        job.watch(timeout=300)
        with self.assertRaises(talkoo.Error) as no:
            job.rows()
        self.assertEqual(no.exception.code, "insufficient_funds")
        for more, says in [({"budget": "much"}, "no amount"), ({"redundancy": 2}, "no share")]:
            with self.assertRaises(talkoo.Error) as no:
                self.client.map("embed", words, **more)
            self.assertIn(says, str(no.exception))

    def test_a_parquet_file_becomes_a_frame_of_vectors(self):
        try:
            import pandas
            import pyarrow  # noqa: F401
        except ImportError as why:
            self.skipTest(f"{why}: pip install pandas pyarrow")
        folder = pathlib.Path(tempfile.mkdtemp())
        words = [f"review {n}: {'good' if n % 2 else 'bad'}" for n in range(30)]
        pandas.DataFrame({"stars": range(30), "text": words}).to_parquet(folder / "reviews.parquet")
        job = self.client.map("embed", folder / "reviews.parquet", column="text", model="all-minilm-l6-v2",
                              shard=2_000, redundancy=0.05, budget="1.50 TLK", out=folder / "reviews_emb.parquet")
        job.watch()
        df = job.result().to_pandas()
        self.assertEqual((list(df["text"]), job.nodes, len(df["embedding"][0])), (words, 1, 384))
        self.assertTrue(0 < float(job.cost) < 1.5 and job.verified > 0, f"{job.cost}, {job.verified}")
        self.assertTrue(pandas.read_parquet(folder / "reviews_emb.parquet")["text"].equals(df["text"]))


class Sales(unittest.TestCase):
    """Two nodes on one chain: what one sells, the other buys."""

    @classmethod
    def setUpClass(cls):
        flags = ["--network", "sales", "--api", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0", "--ledger", "own", "--ledger-rpc", "127.0.0.1:0"]
        cls.owner = talkoo.connect(tempfile.mkdtemp(prefix="talkoo-sdk-"), flags=flags)
        genesis = str(cls.owner.folder / "chain" / "genesis.json")
        at = cls.owner.status()["listen"][0]
        cls.buyer = talkoo.connect(tempfile.mkdtemp(prefix="talkoo-sdk-"), flags=[*flags, "--genesis", genesis, "--bootstrap", at])
        for node in (cls.owner, cls.buyer):
            cls.until("there is credit", lambda: int(node.get("/wallet")["available"]) > 2_000_000)

    @classmethod
    def tearDownClass(cls):
        cls.buyer.down()
        cls.owner.down()

    @staticmethod
    def until(what, holds, within=60):
        end = time.monotonic() + within
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(f"not after {within} s: {what}")
            time.sleep(0.1)

    def test_an_owner_answers_each_request(self):
        songs = pathlib.Path(tempfile.mkdtemp()) / "songs.txt"
        songs.write_text("the song of the crane\n")
        d = self.owner.data.publish(songs, name="songs", purposes=["research"], on_request=True, deliver_s=3600,
                                    access=[talkoo.Price.per_query("0.001 TLK"), talkoo.Price.download("1.50 TLK")])
        paid, seen = [], []
        buying = threading.Thread(target=lambda: paid.append(self.buyer.data.buy(d.asset, timeout=120, per_query=True)))
        buying.start()

        def decide(request):
            seen.append(request)
            self.assertEqual([one["answer"] for one in d.requests()], ["waits"])
            request.approve()

        self.assertEqual(d.on_request(decide, timeout=60, most=1), 1)
        buying.join(120)
        self.assertEqual((seen[0].price, seen[0].uses, seen[0].purpose, seen[0].node), (1000, 1, "research", self.buyer.status()["node"]))
        self.assertEqual(seen[0].buyer.lower(), self.buyer.status()["owner"].lower())
        out = songs.with_name("out.txt")
        paid[0].write(out)
        self.assertEqual(out.read_text(), songs.read_text())
        with self.assertRaises(talkoo.Error) as no:
            paid[0].write(songs.with_name("again.txt"))
        self.assertIn("used up", str(no.exception))
        # The next one pays for more than one use, and is refused.
        grant = self.buyer.post("/data-buy", {"id": str(d.asset)})
        self.assertEqual(grant["price"], "1500000")
        self.assertEqual(d.on_request(lambda request: request.refuse("not for birds of prey"), timeout=60, most=1), 1)
        self.until("the buyer knows why", lambda: any(
            one["grant"] == grant["grant"] and "not for birds of prey" in (one["waits"] or "") for one in self.buyer.data.list()["bought"]))
        self.assertEqual([one["answer"] for one in d.requests()], ["approved", "refused"])
        told = self.owner.earnings()
        self.assertEqual((told["sum"]["data"], told["sum"]["total"]), ("0.001000", "0.001000"))
        self.assertEqual([float(row["total"]) > 0 for row in told["days"][:-2]], [False] * 5)
        self.assertLessEqual(told["since"]["ledger"], time.time())
        with self.assertRaises(talkoo.Error) as no:
            seen[0].refuse()
        self.assertEqual(no.exception.code, "already_used")


if __name__ == "__main__":
    unittest.main()
