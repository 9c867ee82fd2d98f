// Devices that run matrix-js-sdk, driven over JSON lines: commands come in on standard input,
// answers and what /sync brings go out on standard output. One process holds many devices.

import { createInterface } from "node:readline";
import encryption from "matrix-encrypt-attachment";
import {
    createClient,
    ClientEvent,
    ConnectionError,
    Filter,
    MatrixError,
    MatrixEventEvent,
    SyncState,
} from "matrix-js-sdk";
import { CryptoEvent, decodeRecoveryKey } from "matrix-js-sdk/lib/crypto-api/index.js";
import { logger } from "matrix-js-sdk/lib/logger.js";
import { RustBackupManager } from "matrix-js-sdk/lib/rust-crypto/backup.js";
import { logInOnPage } from "./login_page.mjs";
import { SAS, Verification } from "./verification.mjs";

// COMPAT(node 20): matrix-js-sdk 43 wants a newer engine for the sake of this function.
Promise.withResolvers ??= () => {
    const resolvers = {};
    resolvers.promise = new Promise((resolve, reject) => {
        Object.assign(resolvers, { resolve, reject });
    });
    return resolvers;
};

logger.disableAll();
console.log = console.info = console.debug = console.warn = console.error; // not into our lines
process.on("unhandledRejection", console.error); // a browser would go on, too
RustBackupManager.maxBackupLoopStartDelayMillis = 200; // 10 s, to spread the load of many clients

const RETRY_AFTER_MS = 200;
const TIMELINE_LIMIT = 200; // no gaps, even after a while without the server

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Run an interactive-auth request as an application does: ask, then answer with the password. */
const withPassword = (user, password) => async (request) => {
    try {
        return await request(null);
    } catch (error) {
        if (!error.data?.session) throw error;
        const identifier = { type: "m.id.user", user };
        const { session } = error.data;
        return request({ type: "m.login.password", session, identifier, password });
    }
};

const timelines = (userId) => {
    const filter = new Filter(userId);
    filter.setUnreadThreadNotifications(true);
    filter.setTimelineLimit(TIMELINE_LIMIT);
    return filter;
};

class Device {
    #name;
    #baseUrl;
    #secretStorageKey = null;
    #verification = new Verification();

    constructor(name, baseUrl) {
        this.#name = name;
        this.#baseUrl = baseUrl;
    }

    // Accounts

    async register({ user, password }) {
        const client = this.#client({});
        const form = { username: user, password, initial_device_display_name: this.#name };
        let answer;
        try {
            answer = await client.registerRequest(form);
        } catch (error) {
            if (!error.data?.session) throw error;
            answer = await client.registerRequest({
                ...form,
                auth: { type: "m.login.dummy", session: error.data.session },
            });
        }
        return this.#begin(answer);
    }

    async signIn({ user, password }) {
        const answer = await this.#client({}).loginRequest({
            type: "m.login.password",
            identifier: { type: "m.id.user", user },
            password,
            initial_device_display_name: this.#name,
        });
        return this.#begin(answer);
    }

    async signInOnPage({ user, password, query }) {
        const page = `${this.#baseUrl}/_matrix/static/client/login/`;
        const done = await logInOnPage(`${page}?${new URLSearchParams(query)}`, user, password);
        const [answer] = done.handedOver;
        if (!answer) return done;
        return { ...done, ...(await this.#begin(answer)) };
    }

    #client(session) {
        return createClient({ baseUrl: this.#baseUrl, fetchFn: this.#fetch, ...session });
    }

    #fetch = async (url, options) => {
        const answer = await fetch(url, options);
        if (answer.status >= 400) {
            const asked = `${options?.method} ${new URL(url).pathname}`;
            const said = (await answer.clone().text()).slice(0, 200);
            this.#tell({ refusal: `${asked} -> ${answer.status} ${said}` });
        }
        return answer;
    };

    #tell(line) {
        say({ device: this.#name, ...line });
    }

    async #begin({ user_id: userId, device_id: deviceId, access_token: accessToken }) {
        const client = (this.client = this.#client({
            userId,
            deviceId,
            accessToken,
            verificationMethods: [SAS],
            cryptoCallbacks: {
                getSecretStorageKey: async ({ keys }) => {
                    const [keyId] = Object.keys(keys);
                    return this.#secretStorageKey && [keyId, this.#secretStorageKey];
                },
                cacheSecretStorageKey: (_keyId, _info, key) => (this.#secretStorageKey = key),
            },
        }));
        client.setMaxListeners(100);
        await client.initRustCrypto({ useIndexedDB: false });
        client.on(ClientEvent.Event, (event) => this.#arrived(event));
        client.on(MatrixEventEvent.Decrypted, (event) => this.#show(event));
        client.on(CryptoEvent.VerificationRequestReceived, (request) => {
            this.#verification.follow(request);
        });
        const ready = new Promise((resolve) => {
            client.on(ClientEvent.Sync, (state) => state === SyncState.Prepared && resolve());
        });
        await client.startClient({
            initialSyncLimit: TIMELINE_LIMIT,
            filter: timelines(userId),
            lazyLoadMembers: true,
            threadSupport: true,
        });
        await ready;
        return { userId, deviceId };
    }

    async #arrived(event) {
        if (!event.getRoomId() || !event.getId() || event.isState()) return;
        this.#tell({ arrived: event.getId() }); // now: decryption does not keep the order
        await this.client.decryptEventIfNeeded(event);
        this.#show(event);
    }

    #show(event) {
        this.#tell({
            event: {
                room_id: event.getRoomId(),
                event_id: event.getId(),
                sender: event.getSender(),
                type: event.getType(),
                content: event.getContent(),
                encrypted: event.isEncrypted(),
                readable: !event.isDecryptionFailure(),
            },
        });
    }

    async signOut() {
        await this.client.logout(true);
    }

    async wake() {
        this.client?.retryImmediately();
    }

    async close() {
        this.client?.stopClient();
    }

    // Rooms

    async createRoom(options) {
        return (await this.client.createRoom(options)).room_id;
    }

    async join({ room }) {
        await this.client.joinRoom(room);
    }

    async invite({ room, user }) {
        await this.client.invite(room, user);
    }

    async leave({ room }) {
        await this.client.leave(room);
    }

    async isInvited({ room }) {
        return this.client.getRoom(room)?.getMyMembership() === "invite";
    }

    async joinedMembers({ room: roomId }) {
        const room = this.client.getRoom(roomId);
        if (room?.getMyMembership() !== "join" || !room.hasEncryptionStateEvent()) return [];
        await room.loadMembersIfNeeded().catch((error) => {
            if (!(error instanceof ConnectionError)) throw error;
        });
        return room.getJoinedMembers().map((member) => member.userId);
    }

    async knows({ user, device }) {
        return Boolean((await this.#crypto.getUserDeviceInfo([user])).get(user)?.has(device));
    }

    get #crypto() {
        return this.client.getCrypto();
    }

    // Messages

    async send({ room, type, content }) {
        const txnId = this.client.makeTxnId();
        const relation = content["m.relates_to"];
        const threadId = relation?.rel_type === "m.thread" ? relation.event_id : null;
        if (threadId) this.#openThread(room, threadId);
        try {
            return (await this.client.sendEvent(room, threadId, type, content, txnId)).event_id;
        } catch (error) {
            return this.#sendAgain(room, txnId, error);
        }
    }

    /** Applications show the thread before one can answer in it. */
    #openThread(roomId, rootId) {
        const room = this.client.getRoom(roomId);
        if (room.getThread(rootId)) return;
        room.createThread(rootId, this.#event(roomId, rootId), [], true);
    }

    /** What a person does after "failed to send": press retry until it goes through. */
    async #sendAgain(roomId, txnId, error) {
        const room = this.client.getRoom(roomId);
        const event = room.getLiveTimeline().getEvents().find((each) => each.getTxnId() === txnId);
        while (event && !(error instanceof MatrixError)) {
            await pause(RETRY_AFTER_MS);
            if (event.status === null) return event.getId(); // sent after all: /sync brought it
            try {
                return (await this.client.resendEvent(event, room)).event_id;
            } catch (again) {
                error = again;
            }
        }
        throw error;
    }

    async renewKeys({ room }) {
        await this.#crypto.forceDiscardSession(room);
    }

    async redact({ room, event }) {
        await this.client.redactEvent(room, event);
    }

    async setTyping({ room, typing }) {
        await this.client.sendTyping(room, typing, 30_000);
    }

    async typing({ room }) {
        const members = this.client.getRoom(room).getMembers();
        return members.filter((member) => member.typing).map((member) => member.userId);
    }

    async markRead({ room, event }) {
        await this.client.sendReadReceipt(this.#event(room, event));
    }

    async readers({ room: roomId, event }) {
        const room = this.client.getRoom(roomId);
        const users = room.getJoinedMembers().map((member) => member.userId);
        return users.filter((user) => room.hasUserReadEvent(user, event));
    }

    /** How an application would draw the event: edits, reactions, redaction and thread applied. */
    async look({ room: roomId, event: eventId }) {
        const room = this.client.getRoom(roomId);
        const event = this.#event(roomId, eventId);
        const { relations } = room;
        const reactions = relations.getChildEventsForEvent(eventId, "m.annotation", "m.reaction");
        const inThread = room.getThread(eventId)?.events ?? [];
        const answers = inThread.filter((each) => each.getId() !== eventId);
        const byKey = reactions?.getSortedAnnotationsByKey() ?? [];
        return {
            body: event.getContent().body,
            redacted: event.isRedacted(),
            reactions: byKey.map(([key, events]) => [key, events.size]),
            thread: answers.map((answer) => answer.getContent().body),
        };
    }

    #event(roomId, eventId) {
        const room = this.client.getRoom(roomId);
        return room.findEventById(eventId);
    }

    // Attachments

    async upload({ base64 }) {
        const plain = Uint8Array.from(Buffer.from(base64, "base64")).buffer;
        const { data, info } = await encryption.encryptAttachment(plain);
        const answer = await this.client.uploadContent(Buffer.from(data), {
            type: "application/octet-stream",
            includeFilename: false,
        });
        return { ...info, url: answer.content_uri };
    }

    async download({ file }) {
        const [whole, noLinks, redirects, authenticated] = [undefined, false, true, true];
        const url = this.client.mxcUrlToHttp(
            file.url, whole, whole, whole, noLinks, redirects, authenticated,
        );
        const headers = { Authorization: `Bearer ${this.client.getAccessToken()}` };
        const answer = await this.#fetch(url, { headers });
        if (!answer.ok) throw new Error(`download: ${answer.status}`);
        const plain = await encryption.decryptAttachment(await answer.arrayBuffer(), file);
        return Buffer.from(plain).toString("base64");
    }

    // Cross-signing and verification

    async setUpCrossSigning({ user, password, again = false }) {
        await this.#crypto.bootstrapCrossSigning({
            setupNewCrossSigning: again,
            authUploadDeviceSigningKeys: withPassword(user, password),
        });
    }

    async deviceTrust({ user, device }) {
        const status = await this.#crypto.getDeviceVerificationStatus(user, device);
        return {
            signedByOwner: status?.signedByOwner ?? false,
            crossSigned: status?.crossSigningVerified ?? false,
        };
    }

    async userTrust({ user }) {
        return (await this.#crypto.getUserVerificationStatus(user)).isCrossSigningVerified();
    }

    async hasCrossSigningSecrets() {
        const { privateKeysCachedLocally: cached } = await this.#crypto.getCrossSigningStatus();
        return cached.masterKey && cached.selfSigningKey && cached.userSigningKey;
    }

    async verifyMyself() {
        this.#verification.follow(await this.#crypto.requestOwnUserVerification());
    }

    async verifyInRoom({ user, room }) {
        this.#verification.follow(await this.#crypto.requestVerificationDM(user, room));
    }

    async acceptVerification() {
        await this.#verification.accept();
    }

    async startSas() {
        await this.#verification.start();
    }

    async verification() {
        return this.#verification.state();
    }

    async confirmSas() {
        await this.#verification.confirm();
    }

    async ownDevices() {
        return (await this.client.getDevices()).devices;
    }

    // Key backup

    async setUpBackup({ user, password }) {
        const key = await this.#crypto.createRecoveryKeyFromPassphrase();
        await this.setUpCrossSigning({ user, password });
        await this.#crypto.bootstrapSecretStorage({
            createSecretStorageKey: async () => key,
            setupNewKeyBackup: true,
        });
        return key.encodedPrivateKey;
    }

    async backupCount() {
        return (await this.client.http.authedRequest("GET", "/room_keys/version")).count;
    }

    async restoreBackup({ recoveryKey }) {
        this.#secretStorageKey = decodeRecoveryKey(recoveryKey);
        const askServer = true;
        await this.#crypto.userHasCrossSigningKeys(this.client.getUserId(), askServer);
        await this.#crypto.bootstrapCrossSigning({});
        await this.#crypto.loadSessionBackupPrivateKeyFromSecretStorage();
        return this.#crypto.restoreKeyBackup();
    }
}

const devices = new Map();
for await (const line of createInterface({ input: process.stdin })) {
    const { id, device: name, url, command, options } = JSON.parse(line);
    if (!devices.has(name)) devices.set(name, new Device(name, url));
    devices.get(name)[command](options ?? {}).then(
        (result) => say({ id, result: result ?? null }),
        (error) => say({ id, error: `${command}: ${error.stack ?? error}` }),
    );
}
process.exit(0);
