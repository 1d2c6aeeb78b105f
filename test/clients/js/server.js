// The real program, built from this tree and run as the README says. ASTROCYTE_PROGRAM names one that is
// built already.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");

export class Server {
    static async build() {
        const s = new Server();
        s.dir = mkdtempSync(join(tmpdir(), "astrocyte-js-"));
        s.program = process.env.ASTROCYTE_PROGRAM ?? join(s.dir, "astrocyte");
        if (!process.env.ASTROCYTE_PROGRAM) s.make();
        s.address = `127.0.0.1:${await freePort()}`;
        s.url = `http://${s.address}`;
        return s;
    }

    make() {
        execFileSync("go", ["build", "-buildvcs=false", "-o", this.program, "."], {
            cwd: root,
            env: { ...process.env, CGO_ENABLED: "0" },
            stdio: "inherit",
        });
    }

    /** start starts the program and waits until it answers. */
    async start() {
        this.log = "";
        this.process = spawn(this.program, ["serve", "--listen", this.address, "--data", join(this.dir, "data")], {
            stdio: ["ignore", "ignore", "pipe"],
        });
        this.process.stderr.on("data", (text) => (this.log += text));
        this.ended = new Promise((resolve) => this.process.once("exit", resolve));
        for (const end = Date.now() + 30_000; Date.now() < end; await sleep(20)) {
            try {
                if ((await fetch(`${this.url}/_matrix/client/versions`)).ok) return;
            } catch {
                // it does not listen yet
            }
            if (this.process.exitCode !== null) break;
        }
        throw new Error(`the server does not answer:\n${this.log}`);
    }

    /** kill ends the program by SIGKILL, which it cannot notice. */
    async kill() {
        this.process?.kill("SIGKILL");
        await this.ended;
    }

    async remove() {
        await this.kill();
        rmSync(this.dir, { recursive: true, force: true });
    }
}

// freePort finds a port to which the server can come back after its death: none of those that systems give
// to outgoing connections.
async function freePort() {
    for (;;) {
        const port = 15000 + Math.floor(Math.random() * 15000);
        if (await isFree(port)) return port;
    }
}

function isFree(port) {
    return new Promise((resolve) => {
        const server = createServer();
        server.once("error", () => resolve(false));
        server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
    });
}
