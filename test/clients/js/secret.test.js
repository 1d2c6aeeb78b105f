// The main story in an encrypted room: two people verify each other and talk, one of them takes a third
// device that reads all that was said from the backup, and a device is logged out. Then the server is killed
// again and again while they talk, and everybody reads everything.

import assert from "node:assert/strict";
import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as sdk from "matrix-js-sdk";
import { CryptoEvent, VerificationRequestEvent, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { logger } from "matrix-js-sdk/lib/logger.js";
import { Person } from "./person.js";
import { Server } from "./server.js";

// The library tells the console all that it does.
logger.methodFactory = () => () => {};
logger.rebuild();
console.debug = console.info = () => {};

const rounds = Number(process.env.ASTROCYTE_CRYPTO_ROUNDS ?? 3);
let server, alice, bob, third, born, room;

before(async () => {
    server = await Server.build();
    await server.start();
    alice = await Person.register(server, "alice", { secret: true });
    bob = await Person.register(server, "bob", { secret: true });
});

after(async () => {
    for (const p of [alice, bob, third]) p?.stop();
    await server?.remove();
});

test("they meet in an encrypted room", async () => {
    const made = await alice.client.createRoom({
        preset: "private_chat",
        invite: [bob.id],
        initial_state: [
            {
                type: "m.room.encryption",
                state_key: "",
                // The key of the room changes with every second message.
                content: { algorithm: "m.megolm.v1.aes-sha2", rotation_period_msgs: 2 },
            },
        ],
    });
    room = made.room_id;
    await bob.until("the invite", () => bob.room(room)?.getMyMembership() === "invite");
    await bob.client.joinRoom(room);
    await alice.until("bob's join", () => alice.room(room)?.getMember(bob.id)?.membership === "join");
    for (const p of [alice, bob]) {
        await p.until("the encryption", () => p.client.getCrypto().isEncryptionEnabledInRoom(room));
    }
});

test("they talk in secret", async () => {
    for (let i = 0; i < 5; i++) {
        await alice.says(room, `secret question ${i}`);
        assert.ok((await bob.seesText(room, `secret question ${i}`)).isEncrypted());
        await bob.says(room, `secret answer ${i}`);
        assert.ok((await alice.seesText(room, `secret answer ${i}`)).isEncrypted());
    }
});

test("they set up cross-signing and a backup", async () => {
    for (const p of [alice, bob]) {
        const crypto = p.client.getCrypto();
        await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (make) => make(null) });
        await crypto.bootstrapSecretStorage({
            createSecretStorageKey: () => crypto.createRecoveryKeyFromPassphrase(),
            setupNewSecretStorage: true,
            setupNewKeyBackup: true,
        });
        assert.ok(await crypto.isCrossSigningReady(), `${p.name}'s cross-signing is ready`);
    }
});

test("they verify each other", async () => {
    const asked = new Promise((resolve) => bob.client.once(CryptoEvent.VerificationRequestReceived, resolve));
    // The library asks for the other's keys when it is told to; a person does so by opening the profile.
    await alice.client.getCrypto().getUserDeviceInfo([bob.id], true);
    await bob.client.getCrypto().getUserDeviceInfo([alice.id], true);
    const request = await alice.client.getCrypto().requestVerificationDM(bob.id, room);
    const other = await asked;
    await other.accept();
    await becomes(request, (r) => r.phase === 3); // ready
    const mine = await request.startVerification("m.sas.v1");
    await becomes(other, (r) => r.verifier);
    const [left, right] = [shows(mine), shows(other.verifier)];
    const done = [mine.verify(), other.verifier.verify()];
    const [a, b] = await Promise.all([left, right]);
    assert.deepEqual(a.sas.emoji, b.sas.emoji);
    await Promise.all([a.confirm(), b.confirm(), ...done]);
    for (const [p, o] of [
        [alice, bob],
        [bob, alice],
    ]) {
        await p.until("the trust", async () => (await p.client.getCrypto().getUserVerificationStatus(o.id)).isCrossSigningVerified());
        assert.ok((await p.client.getCrypto().getDeviceVerificationStatus(o.id, o.device)).crossSigningVerified);
    }
});

function becomes(request, is) {
    return new Promise((resolve) => {
        const look = () => is(request) && resolve();
        request.on(VerificationRequestEvent.Change, look);
        look();
    });
}

function shows(verifier) {
    return new Promise((resolve) => verifier.once(VerifierEvent.ShowSas, resolve));
}

test("an encrypted picture is shown", async () => {
    const picture = randomBytes(300 << 10);
    const [key, iv] = [randomBytes(32), Buffer.concat([randomBytes(8), Buffer.alloc(8)])];
    const cipher = createCipheriv("aes-256-ctr", key, iv);
    const sealed = Buffer.concat([cipher.update(picture), cipher.final()]);
    const { content_uri: url } = await alice.client.uploadContent(sealed, { type: "application/octet-stream" });
    await alice.client.sendEvent(room, "m.room.message", {
        msgtype: "m.image",
        body: "holiday.png",
        file: {
            v: "v2",
            url,
            key: { kty: "oct", key_ops: ["encrypt", "decrypt"], alg: "A256CTR", ext: true, k: key.toString("base64url") },
            iv: iv.toString("base64").replace(/=+$/, ""),
            hashes: { sha256: createHash("sha256").update(sealed).digest("base64").replace(/=+$/, "") },
        },
    });
    const { file } = (await bob.seesText(room, "holiday.png")).getContent();
    const answer = await fetch(bob.client.mxcUrlToHttp(file.url, undefined, undefined, undefined, false, true, true), {
        headers: { Authorization: `Bearer ${bob.client.getAccessToken()}` },
    });
    assert.equal(answer.status, 200);
    const got = Buffer.from(await answer.arrayBuffer());
    assert.equal(createHash("sha256").update(got).digest("base64").replace(/=+$/, ""), file.hashes.sha256);
    const decipher = createDecipheriv("aes-256-ctr", Buffer.from(file.key.k, "base64url"), Buffer.from(file.iv, "base64"));
    assert.ok(Buffer.concat([decipher.update(got), decipher.final()]).equals(picture));
});

test("a third device restores the backup and reads the history", async () => {
    await alice.until("the backup of all keys", async () => {
        const { count } = await alice.client.http.authedRequest("GET", "/room_keys/version", undefined, undefined, { prefix: sdk.ClientPrefix.V3 });
        return count >= 6; // a key for each two messages of hers, and of his
    });
    born = Date.now();
    third = await Person.login(server, "alice", { secret: true, secrets: alice.secrets });
    const crypto = third.client.getCrypto();
    // The library takes her private keys only once it has been told the public ones, which it asks for by itself.
    await third.until("the keys of her identity", () => crypto.userHasCrossSigningKeys());
    await crypto.bootstrapCrossSigning({});
    await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    await crypto.checkKeyBackupAndEnable();
    await third.until("the whole history", async () => {
        await crypto.restoreKeyBackup(); // what her first device backs up meanwhile comes with the next
        return (await secretsOf(third)) >= 11;
    });
    await alice.until("the trust in the third device", async () => {
        const status = await alice.client.getCrypto().getDeviceVerificationStatus(alice.id, third.device);
        return status?.crossSigningVerified;
    });
});

// secretsOf counts what a client can read of the history.
async function secretsOf(p) {
    let n = 0;
    for (const raw of await p.history(room)) {
        if (raw.type !== "m.room.encrypted") continue;
        const event = new sdk.MatrixEvent({ ...raw, room_id: room });
        await p.client.decryptEventIfNeeded(event, { emit: false });
        if (!event.isDecryptionFailure() && event.getType() === "m.room.message") n++;
    }
    return n;
}

test("all devices hear what is said", async () => {
    await knows(bob, third);
    await knows(alice, third);
    for (const says of [bob, alice, third]) {
        await says.says(room, `a third ear, says ${says.device}`);
        for (const hears of [alice, bob, third]) await hears.seesText(room, `a third ear, says ${says.device}`);
    }
});

// knows waits until a client has heard of another's device.
function knows(p, o) {
    return p.until(`the device ${o.device}`, async () => {
        const devices = await p.client.getCrypto().getUserDeviceInfo([o.id]);
        return devices.get(o.id)?.has(o.device);
    });
}

test(`${rounds} kills make nothing unreadable`, { timeout: 3_600_000 }, async () => {
    const everybody = [alice, bob, third];
    for (let round = 0; round < rounds; round++) {
        const talk = everybody.map(async (p) => {
            for (let i = 0; i < 3; i++) await p.insists(room, `round ${round}, ${p.device}, ${i}`);
        });
        await sleep(Math.random() * 150); // the moment of the kill
        await server.kill();
        await server.start();
        for (const p of everybody) p.client.retryImmediately();
        await Promise.all(talk);
        for (const hears of everybody) {
            for (const says of everybody) {
                for (let i = 0; i < 3; i++) await hears.seesText(room, `round ${round}, ${says.device}, ${i}`);
            }
        }
    }
    for (const p of everybody) {
        // What is older than the third device it has from the backup, for which the library does not look by itself.
        const since = p === third ? born : 0;
        await p.until("everything to be readable", () => p.unread(room).every((e) => e.getTs() < since));
        const texts = p.texts(room).filter((text) => text.startsWith("round "));
        assert.equal(new Set(texts).size, texts.length, `${p.device} reads everything once`);
    }
});

test("a logout takes the device away", async () => {
    await third.client.logout(true);
    await bob.until("the end of the device", async () => {
        const devices = await bob.client.getCrypto().getUserDeviceInfo([alice.id]);
        return !devices.get(alice.id)?.has(third.device);
    });
    const { one_time_keys: keys } = await bob.client.claimOneTimeKeys([[alice.id, third.device]]);
    assert.deepEqual(keys, {});
    await bob.says(room, "among us again");
    await alice.seesText(room, "among us again");
});
