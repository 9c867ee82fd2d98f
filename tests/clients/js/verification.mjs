// One emoji verification at a time, step by step, as a person goes through it.

import {
    VerificationPhase,
    VerificationRequestEvent,
    VerifierEvent,
} from "matrix-js-sdk/lib/crypto-api/index.js";

export const SAS = "m.sas.v1";

export class Verification {
    #request = null;
    #verified = null;
    #sas = null;

    /** Turn to a new request, made by us or by the other side. */
    follow(request) {
        this.#request = request;
        this.#verified = this.#sas = null;
        request.on(VerificationRequestEvent.Change, () => {
            if (request.verifier) this.#watch(request.verifier);
        });
    }

    async accept() {
        await this.#request.accept();
    }

    async start() {
        this.#watch(await this.#request.startVerification(SAS));
    }

    state() {
        return {
            phase: this.#request ? VerificationPhase[this.#request.phase] : "None",
            emoji: this.#sas?.sas.emoji.map(([, name]) => name) ?? [],
        };
    }

    /** Say that the emoji match; resolves when the other side has said so, too. */
    async confirm() {
        await this.#sas.confirm();
        await this.#verified;
    }

    #watch(verifier) {
        if (this.#verified) return;
        verifier.on(VerifierEvent.ShowSas, (sas) => (this.#sas = sas));
        this.#verified = verifier.verify();
        this.#verified.catch(console.error); // whoever confirms hears of it, too
    }
}
