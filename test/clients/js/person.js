// Somebody with a client of matrix-js-sdk, the library of Element Web.

import { setTimeout as sleep } from "node:timers/promises";
import * as sdk from "matrix-js-sdk";
import { SlidingSync } from "matrix-js-sdk/lib/sliding-sync.js";

const patience = 30_000;

export const passwordOf = (name) => `the password of ${name}`;

export class Person {
    /** register makes an account, and a client that syncs all the time. With secret it can encrypt; with sliding it uses
        sliding sync, and shows so many rooms. */
    static async register(server, name, { secret, sliding } = {}) {
        const guest = sdk.createClient({ baseUrl: server.url });
        const data = { username: name, password: passwordOf(name) };
        const challenge = await guest.registerRequest(data).then(
            () => {
                throw new Error("registration did not ask for anything");
            },
            (err) => err,
        );
        if (challenge.httpStatus !== 401) throw challenge;
        data.auth = { type: "m.login.dummy", session: challenge.data.session };
        return Person.#start(server, name, await guest.registerRequest(data), { secret, sliding });
    }

    /** login gives somebody one more device. secrets are the keys of the secret storage that they have. */
    static async login(server, name, { secret, secrets } = {}) {
        const guest = sdk.createClient({ baseUrl: server.url });
        const made = await guest.loginRequest({
            type: "m.login.password",
            identifier: { type: "m.id.user", user: name },
            password: passwordOf(name),
        });
        return Person.#start(server, name, made, { secret, secrets });
    }

    static async #start(server, name, made, { secret, sliding, secrets = new Map() }) {
        const p = new Person();
        p.name = name;
        p.secrets = secrets;
        p.client = sdk.createClient({
            baseUrl: server.url,
            userId: made.user_id,
            accessToken: made.access_token,
            deviceId: made.device_id,
            cryptoCallbacks: {
                getSecretStorageKey: async ({ keys }) => {
                    const id = Object.keys(keys).find((key) => secrets.has(key));
                    return id ? [id, secrets.get(id)] : null;
                },
                cacheSecretStorageKey: (id, _info, key) => secrets.set(id, key),
            },
        });
        p.id = made.user_id;
        p.device = made.device_id;
        try {
            if (secret) await p.client.initRustCrypto({ useIndexedDB: false });
            const slidingSync = sliding && p.#slides(server, sliding);
            await p.client.startClient({ initialSyncLimit: 30, lazyLoadMembers: true, threadSupport: true, pollTimeout: 10_000, slidingSync });
            await p.until("the first sync", () => ["PREPARED", "SYNCING"].includes(p.client.getSyncState()));
        } catch (err) {
            p.stop();
            throw err;
        }
        return p;
    }

    // #slides asks for the rooms as Element Web does: a list with what is needed to show it, and more of the room that is open.
    #slides(server, rooms) {
        const required_state = [["m.room.create", ""], ["m.room.name", ""], ["m.room.join_rules", ""], ["m.room.encryption", ""], ["m.room.member", "$LAZY"], ["m.room.member", "$ME"]];
        const lists = new Map([["rooms", { ranges: [[0, rooms - 1]], timeline_limit: 1, required_state, filters: { not_room_types: ["m.space"] } }]]);
        this.sliding = new SlidingSync(server.url, lists, { timeline_limit: 20, required_state: [["*", "*"], ["m.room.member", "$LAZY"]] }, this.client, 10_000);
        return this.sliding;
    }

    /** until waits until find gives something, and gives that. */
    async until(what, find) {
        for (const end = Date.now() + patience; Date.now() < end; await sleep(10)) {
            const found = await find();
            if (found) return found;
        }
        throw new Error(`${this.name} waited in vain for ${what}`);
    }

    room(id) {
        return this.client.getRoom(id);
    }

    timeline(id) {
        return this.room(id)?.getLiveTimeline().getEvents() ?? [];
    }

    /** texts gives the messages that the client shows of a room. */
    texts(id) {
        return this.timeline(id)
            .filter((e) => e.getType() === "m.room.message" && !e.isRedacted())
            .map((e) => e.getContent().body);
    }

    /** seesText waits for a message that the server has told of: no echo of one's own. */
    seesText(id, text) {
        return this.until(`"${text}"`, () => this.timeline(id).find((e) => e.getContent().body === text && !e.status));
    }

    /** unread gives the events of a room that the client could not decrypt. */
    unread(id) {
        return this.timeline(id).filter((e) => e.isDecryptionFailure());
    }

    /** insists sends a message until it is acknowledged, as people do who press "try again". */
    async insists(id, text) {
        const end = Date.now() + patience;
        try {
            await this.client.sendTextMessage(id, text);
            return;
        } catch (err) {
            if (Date.now() > end) throw err;
        }
        for (;;) {
            const unsent = this.timeline(id).find((e) => e.getContent().body === text && e.status === sdk.EventStatus.NOT_SENT);
            if (!unsent) throw new Error(`${this.name} lost ${text}`);
            try {
                await this.client.resendEvent(unsent, this.room(id));
                return;
            } catch (err) {
                if (Date.now() > end) throw err;
                await sleep(20);
            }
        }
    }

    async says(id, text) {
        return (await this.client.sendTextMessage(id, text)).event_id;
    }

    /** history reads a room backward to its beginning and gives it oldest first. */
    async history(id) {
        const all = [];
        for (let from = null; ; ) {
            const page = await this.client.createMessagesRequest(id, from, 30, sdk.Direction.Backward);
            all.unshift(...page.chunk.toReversed());
            if (!page.end) return all;
            from = page.end;
        }
    }

    stop() {
        this.client.stopClient();
    }
}
