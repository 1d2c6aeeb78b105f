// Somebody with a client of matrix-js-sdk, the library of Element Web.

import { setTimeout as sleep } from "node:timers/promises";
import * as sdk from "matrix-js-sdk";

const patience = 30_000;

export class Person {
    /** register makes an account, and a client that syncs all the time. */
    static async register(server, name) {
        const guest = sdk.createClient({ baseUrl: server.url });
        const data = { username: name, password: `the password of ${name}` };
        const challenge = await guest.registerRequest(data).then(
            () => {
                throw new Error("registration did not ask for anything");
            },
            (err) => err,
        );
        if (challenge.httpStatus !== 401) throw challenge;
        data.auth = { type: "m.login.dummy", session: challenge.data.session };
        const made = await guest.registerRequest(data);
        const p = new Person();
        p.name = name;
        p.client = sdk.createClient({
            baseUrl: server.url,
            userId: made.user_id,
            accessToken: made.access_token,
            deviceId: made.device_id,
        });
        p.id = made.user_id;
        try {
            await p.client.startClient({ initialSyncLimit: 30, lazyLoadMembers: true, threadSupport: true, pollTimeout: 10_000 });
            await p.until("the first sync", () => ["PREPARED", "SYNCING"].includes(p.client.getSyncState()));
        } catch (err) {
            p.stop();
            throw err;
        }
        return p;
    }

    /** until waits until find gives something, and gives that. */
    async until(what, find) {
        for (const end = Date.now() + patience; Date.now() < end; await sleep(10)) {
            const found = find();
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
