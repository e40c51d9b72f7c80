/* libssi: what a program can say to the cluster that it runs in. Plain C; link with -lssi.
 *
 * Nothing of it is needed to be moved. A program that is moved keeps its PID, its files and its
 * connections without knowing; these are for one that wants a say in it. Where there is no cluster
 * the calls fail with ENOENT and change nothing, but for ssi_pin() and ssi_unpin(), which do no
 * harm there.
 *
 * All may be called by any thread at any time, also while others fork. Nothing is allocated on the
 * heap. What returns an int returns -1 and sets errno if it fails. */
#ifndef SSI_H
#define SSI_H

#ifdef __cplusplus
extern "C" {
#endif

/* May the cluster move this process, and what it starts from now on? 1: yes, as `loadlevel enable`
 * of it; 0: no. Holds when it returns. */
int ssi_loadlevel(int on);

/* The number of the node on which this process runs now. It may be another one a moment later. */
int ssi_where(void);

/* Until as many ssi_unpin() this process is not moved, not by anybody: who wants to move it is told
 * that it is pinned, and may wait. It costs two system calls for the first, none for others. A
 * child that it forks is not pinned, nor is what it executes.
 *
 * ssi_pin() fails where no more descriptors can be opened; ssi_unpin(), with EINVAL, where nothing
 * is pinned. */
int ssi_pin(void);
int ssi_unpin(void);

#ifdef __cplusplus
}
#endif

#endif
