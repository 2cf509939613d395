/* report-worker.js - keeps the files of the reporter's page, so that it opens
 * without a network. It always answers with the set that it has, whole, and
 * fetches a newer one when a page that has loaded asks for it. */
'use strict';

const NAME = 'touchline report';
const FILES = ['/report', '/report.css', '/report.js', '/sheets.js',
               '/play.js', '/outbox.js', '/lineup.js', '/shared.js',
               '/score.js', '/touchline.js', '/icon.svg'];

async function fill() {
    const answers = await Promise.all(FILES.map(async (path) => {
        const r = await fetch(path, {cache: 'no-cache'});

        if (!r.ok)
            throw new Error(path + ': ' + r.status);
        return r;
    }));
    const kept = await caches.open(NAME);

    await Promise.all(FILES.map((path, i) => kept.put(path, answers[i])));
}

async function answer(request, path) {
    const kept = await caches.open(NAME);

    return await kept.match(path) || fetch(request);
}

addEventListener('install', (event) =>
    event.waitUntil(fill().then(() => self.skipWaiting())));
addEventListener('activate', (event) =>
    event.waitUntil(self.clients.claim()));
addEventListener('message', (event) =>
    event.waitUntil(fill().catch(() => { /* There is no network. */ })));
addEventListener('fetch', (event) => {
    const url = new URL(event.request.url);

    if (event.request.method === 'GET' && FILES.includes(url.pathname) &&
            url.origin === self.location.origin)
        event.respondWith(answer(event.request, url.pathname));
});
