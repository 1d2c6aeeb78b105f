// Somebody whose client uses sliding sync talks with somebody whose client does not.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { logger } from "matrix-js-sdk/lib/logger.js";
import { Person } from "./person.js";
import { Server } from "./server.js";

// The library tells the console all that it does.
logger.methodFactory = () => () => {};
logger.rebuild();

let server, alice, bob;
const rooms = [];

before(async () => {
    server = await Server.build();
    await server.start();
    alice = await Person.register(server, "alice");
    bob = await Person.register(server, "bob", { sliding: 2 });
});

after(async () => {
    alice?.stop();
    bob?.stop();
    await server?.remove();
});

test("rooms come into view", async () => {
    for (let i = 0; i < 4; i++) {
        const { room_id } = await alice.client.createRoom({ preset: "public_chat", name: `Room ${i}`, invite: [bob.id] });
        rooms.push(room_id);
        await bob.until("the invite", () => bob.room(room_id)?.getMyMembership() === "invite");
        await bob.client.joinRoom(room_id);
        await bob.until("his join", () => bob.room(room_id).getMyMembership() === "join");
    }
    await bob.until("the length of the list", () => bob.sliding.getListData("rooms").joinedCount === 4);
    assert.equal(bob.room(rooms[3]).name, "Room 3");
});

test("they talk both ways", async () => {
    for (let i = 0; i < 5; i++) {
        await alice.says(rooms[3], `question ${i}`);
        await bob.seesText(rooms[3], `question ${i}`);
        await bob.says(rooms[3], `answer ${i}`);
        await alice.seesText(rooms[3], `answer ${i}`);
    }
    assert.deepEqual(bob.texts(rooms[3]).filter((text) => text.startsWith("question")), [0, 1, 2, 3, 4].map((i) => `question ${i}`));
});

test("a room that is opened shows more of its timeline", async () => {
    for (let i = 0; i < 10; i++) await alice.says(rooms[0], `before ${i}`);
    await bob.seesText(rooms[0], "before 9");
    bob.sliding.modifyRoomSubscriptions(new Set([rooms[0]]));
    await bob.until("the timeline", () => bob.texts(rooms[0]).length === 10);
    await alice.client.setRoomName(rooms[0], "Kitchen");
    await bob.until("the new name", () => bob.room(rooms[0]).name === "Kitchen");
});

test("they see typing, receipts and counts", async () => {
    await alice.client.sendTyping(rooms[0], true, 20_000);
    await bob.until("alice typing", () => bob.room(rooms[0]).getMember(alice.id)?.typing);
    const read = await bob.says(rooms[0], "read this");
    await alice.client.sendReadReceipt(await alice.seesText(rooms[0], "read this"));
    await bob.until("alice's receipt", () => bob.room(rooms[0]).getEventReadUpTo(alice.id) === read);
    await alice.says(rooms[0], "count this");
    await bob.until("a count", () => bob.room(rooms[0]).getUnreadNotificationCount("total") >= 1);
    await bob.client.sendReadReceipt(await bob.seesText(rooms[0], "count this"));
    await bob.until("no count", () => bob.room(rooms[0]).getUnreadNotificationCount("total") === 0);
});

test("a restart of the server is not noticed", async () => {
    await server.kill();
    await server.start();
    await alice.says(rooms[0], "after the restart");
    await bob.seesText(rooms[0], "after the restart");
    assert.equal(bob.texts(rooms[0]).filter((text) => text === "after the restart").length, 1);
});
