// The main story: two people meet in a room and talk, the server is killed while one of them sends, and
// nothing is lost.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { logger } from "matrix-js-sdk/lib/logger.js";
import { Person } from "./person.js";
import { Server } from "./server.js";

// The library tells the console all that it does.
logger.methodFactory = () => () => {};
logger.rebuild();

let server, alice, bob, room;

before(async () => {
    server = await Server.build();
    await server.start();
    alice = await Person.register(server, "alice");
    bob = await Person.register(server, "bob");
});

after(async () => {
    alice?.stop();
    bob?.stop();
    await server?.remove();
});

test("an invite is accepted", async () => {
    room = (await alice.client.createRoom({ preset: "private_chat", name: "Kitchen", topic: "dinner" })).room_id;
    await alice.client.invite(room, bob.id);
    await bob.until("the invite", () => bob.room(room)?.getMyMembership() === "invite");
    await bob.until("the invite's name", () => bob.room(room).name === "Kitchen");
    await bob.client.joinRoom(room);
    await bob.until("his join", () => bob.room(room).getMyMembership() === "join");
    await alice.until("bob's join", () => alice.room(room)?.getMember(bob.id)?.membership === "join");
});

test("they talk both ways", async () => {
    for (let i = 0; i < 5; i++) {
        const sent = await alice.says(room, `question ${i}`);
        const seen = await bob.seesText(room, `question ${i}`);
        assert.equal(seen.getId(), sent);
        assert.equal(seen.getSender(), alice.id);
        await bob.says(room, `answer ${i}`);
        await alice.seesText(room, `answer ${i}`);
    }
    assert.equal(alice.texts(room).filter((text) => text === "question 0").length, 1, "an echo stays beside its event");
});

test("they see typing and receipts", async () => {
    await bob.client.sendTyping(room, true, 20_000);
    await alice.until("bob typing", () => alice.room(room).getMember(bob.id)?.typing);
    await bob.client.sendTyping(room, false, 0);
    await alice.until("bob not typing", () => !alice.room(room).getMember(bob.id).typing);
    const read = await alice.says(room, "read this");
    await bob.client.sendReadReceipt(await bob.seesText(room, "read this"));
    await alice.until("bob's receipt", () => alice.room(room).getEventReadUpTo(bob.id) === read);
});

test("unread messages are counted", async () => {
    await alice.says(room, "count this");
    await bob.seesText(room, "count this");
    await bob.until("a count", () => bob.room(room).getUnreadNotificationCount("total") === 1);
    await bob.client.sendReadReceipt(await bob.seesText(room, "count this"));
    await bob.until("no count", () => bob.room(room).getUnreadNotificationCount("total") === 0);
});

test("names change", async () => {
    await alice.client.setRoomName(room, "Bathroom");
    await bob.until("the new name", () => bob.room(room).name === "Bathroom");
    await alice.client.setDisplayName("Alice in Chains");
    await bob.until("alice's name", () => bob.room(room).getMember(alice.id).name === "Alice in Chains");
});

test("a message is redacted", async () => {
    const wrong = await alice.says(room, "a mistake");
    await bob.seesText(room, "a mistake");
    await alice.client.redactEvent(room, wrong, undefined, { reason: "oops" });
    await bob.until("the redaction", () => bob.room(room).findEventById(wrong)?.isRedacted());
    const gone = await bob.client.fetchRoomEvent(room, wrong);
    assert.deepEqual(gone.content, {});
    assert.ok(gone.unsigned.redacted_because);
});

test("the history goes back to the beginning", async () => {
    const all = await bob.history(room);
    assert.equal(all[0].type, "m.room.create");
    const texts = all.map((e) => e.content.body);
    for (let i = 0; i < 5; i++) {
        assert.equal(texts.filter((text) => text === `question ${i}`).length, 1);
    }
    assert.ok(!texts.includes("a mistake"));
});

test("a kill in the middle of sending loses nothing that was acknowledged", async () => {
    const sent = [];
    let failed;
    for (let n = 1; !failed; n++) {
        const m = { txn: `kill-${n}`, text: `under way ${n}` };
        sent.push(m);
        try {
            m.id = (await put(m)).event_id;
        } catch (err) {
            failed = err;
        }
        if (n === 60) void server.kill(); // sending goes on meanwhile
    }
    await server.kill();
    await server.start();
    for (const m of sent) {
        const again = (await put(m)).event_id;
        if (m.id) assert.equal(again, m.id, `${m.text} was sent again`);
    }
    await bob.until("a sync after the restart", () => bob.client.getSyncState() === "SYNCING");
    await alice.says(room, "on we go");
    await bob.seesText(room, "on we go");
    const history = (await bob.history(room)).map((e) => e.content.body);
    for (const m of sent) {
        assert.equal(history.filter((text) => text === m.text).length, 1, `${m.text} is not once in the history`);
    }
});

// put sends a message without the echo, so that it can be sent again.
function put(m) {
    const path = `/rooms/${encodeURIComponent(room)}/send/m.room.message/${m.txn}`;
    return alice.client.http.authedRequest("PUT", path, undefined, { msgtype: "m.text", body: m.text }, { localTimeoutMs: 10_000 });
}

test("what failed to be sent is sent again by the client", async () => {
    await server.kill();
    await assert.rejects(alice.client.sendTextMessage(room, "into the void"));
    const unsent = alice.timeline(room).find((e) => e.getContent().body === "into the void") ?? alice.room(room).getPendingEvents()[0];
    await server.start();
    await alice.client.resendEvent(unsent, alice.room(room));
    await bob.seesText(room, "into the void");
    assert.equal(bob.texts(room).filter((text) => text === "into the void").length, 1);
});

test("a logout ends the session", async () => {
    const ended = new Promise((resolve) => bob.client.once("Session.logged_out", resolve));
    await bob.client.logout();
    await Promise.race([ended, bob.until("the end of the session", () => bob.client.getSyncState() === "ERROR" || bob.client.getSyncState() === "STOPPED")]);
    await assert.rejects(bob.client.whoami(), (err) => err.httpStatus === 401);
});
